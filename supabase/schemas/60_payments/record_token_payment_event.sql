/*
 * Takes one event of a payment provider: merges what it says into what is known of the payment, and
 * brings the books to it, in one commit. The same event again changes nothing, and different events
 * in any order end in the same state (tokenbook.settle_payment). A payment whose user or plan is not
 * known is parked, never dropped.
 * p_facts: {kind: paid | refunded | disputed | dispute_won, user_id, plan_type, amount_cents, currency,
 * refunded_cents (in all), period_start}; what is not known is left out.
 * Caller: service_role, after it has verified the signature.   Locks: the payment's facts, then the
 * account.
 * Errors: invalid_provider_event, idempotency_key_reused, balance_limit_exceeded, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.record_token_payment_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments;
  v_replayed boolean;
  v_other text;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_provider is null or p_provider not in ('stripe', 'paypal')
    or coalesce(p_event_id, '') !~ '^[A-Za-z0-9._:-]{1,255}$'
    or coalesce(p_provider_payment_id, '') !~ '^[A-Za-z0-9._:-]{1,255}$'
    or coalesce(length(p_event_type), 0) not between 1 and 255
    or coalesce(jsonb_typeof(p_facts), '') <> 'object'
    or coalesce(p_facts ->> 'kind', '') not in ('paid', 'refunded', 'disputed', 'dispute_won')
    or octet_length(p_facts::text) > 8192
    or p_facts ->> 'currency' !~ '^[A-Za-z]{3}$'
    or p_facts ->> 'amount_cents' !~ '^[0-9]{1,15}$'
    or p_facts ->> 'refunded_cents' !~ '^[0-9]{1,15}$'
    or p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    or p_facts ->> 'period_start' !~ '^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}'
  then
    perform tokenbook.refuse('invalid_provider_event', '{"field": "p_facts", "rule": "a known provider, ids of at most 255 characters, a known kind, a currency of three letters, whole amounts that are not negative, a user''s id, a period of 1900 to 2199"}');
  end if;

  if tokenbook.settle_backlog(coalesce( -- before anything is written that would stay
    (select f.user_id from tokenbook.provider_payments f
      where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id),
    (p_facts ->> 'user_id')::uuid))
  then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, p_create => true);
  insert into tokenbook.provider_events (provider, event_id, event_type, provider_payment_id, facts)
  values (p_provider, p_event_id, p_event_type, p_provider_payment_id, p_facts)
  on conflict do nothing;
  v_replayed := not found;
  if v_replayed then
    -- an event says for ever what it said first
    select e.provider_payment_id, e.facts into v_other, p_facts
      from tokenbook.provider_events e where e.provider = p_provider and e.event_id = p_event_id;
    if v_other <> p_provider_payment_id then
      perform tokenbook.refuse('idempotency_key_reused', '{"differs": ["provider_payment_id"]}');
    end if;
  end if;

  -- merge: every line is a maximum, an "or", or "the first that is known"
  update tokenbook.provider_payments f
     set user_id = coalesce(f.user_id, (
           select known.id from (
             select u.id from auth.users u where u.id = (p_facts ->> 'user_id')::uuid
             union all
             select a.user_id from public.token_accounts a where a.user_id = (p_facts ->> 'user_id')::uuid) known
            limit 1)),
         plan_type = coalesce(f.plan_type, (
           select p.plan_type from public.token_plans p where p.plan_type = p_facts ->> 'plan_type')),
         is_paid = f.is_paid or p_facts ->> 'kind' = 'paid',
         amount_cents = greatest(f.amount_cents, (p_facts ->> 'amount_cents')::bigint),
         currency = coalesce(f.currency, lower(p_facts ->> 'currency')),
         refunded_cents = greatest(f.refunded_cents, (p_facts ->> 'refunded_cents')::bigint),
         was_disputed = f.was_disputed or p_facts ->> 'kind' = 'disputed',
         dispute_was_won = f.dispute_was_won or p_facts ->> 'kind' = 'dispute_won',
         period_start = coalesce(f.period_start, (p_facts ->> 'period_start')::timestamptz),
         updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
  returning f.* into v_facts;
  return tokenbook.settle_and_describe_payment(v_facts, 'service', null) || jsonb_build_object('replayed', v_replayed);
end
$$;
comment on function tokenbook.record_token_payment_event is
  'Takes one verified event of a payment provider (stripe or paypal) and brings the books to it; the same event again changes nothing, and any order of events ends in the same state. For the server only. p_facts {kind: paid | refunded | disputed | dispute_won, user_id, plan_type, amount_cents, currency, refunded_cents (in all), period_start}. Returns {success, status (parked, waiting, approved, refunded), payment_id, user_id, plan_type, tokens_granted, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: invalid_provider_event, idempotency_key_reused, balance_limit_exceeded, busy.';
