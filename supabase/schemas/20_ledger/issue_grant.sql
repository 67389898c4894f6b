/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * p_grant is the grant to be: grant_type, tokens_granted, priority (NULL: the type's own, or 50), pays_for (NULL: the
 * type's own, or everything), granted_at (NULL: now), expires_at (NULL: p_lifetime, or else the type's own; 'infinity':
 * never), cost_basis_cents and currency (NULL: its payment's, or nothing), where it came from, metadata.
 * p_entry is its transaction: user_id, action_type (NULL: the type's own), reason, actor, key, request, links.
 * With p_begins_later it is a grant to come: granted_at is the moment at which it begins, and its
 * transaction says so, of 0 tokens (tokenbook.schedule_grant).
 * Locks: the account, made first where there is none.   With is_behind, and nothing given, where more was due than one
 * call books: the caller answers tokenbook.answer_busy(), or refuses.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_starts_at, invalid_expiry,
 * balance_limit_exceeded, too_many_restricted_grants, too_many_upcoming_grants.   What depends on the clock is checked
 * after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I9, I10.
 */
create function tokenbook.issue_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  p_lifetime interval default null,
  p_begins_later boolean default false,
  out transaction public.token_transactions,
  out granted public.token_balances,
  out replayed boolean,
  out is_behind boolean,
  out tokens_remaining bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_type jsonb;
  v_terms jsonb;
begin
  replayed := false;
  is_behind := false;

  -- lock
  v_account := tokenbook.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    is_behind := tokenbook.settle_backlog(p_entry.user_id);
    if is_behind then
      return;
    end if;
  end if;

  -- replay
  if p_entry.idempotency_key is not null then
    transaction := tokenbook.find_replay(p_entry);
  end if;
  if transaction.id is not null then
    if transaction.terms ? 'upcoming' then
      granted := tokenbook.upcoming_grant(transaction);
    else
      select b.* into granted
        from public.token_balances b
       where b.user_id = transaction.user_id and b.id = transaction.grant_ids[1];
    end if;
    tokens_remaining := tokenbook.remaining_after(transaction);
    replayed := true;
    return;
  end if;

  -- act
  v_type := tokenbook.grant_type_terms(p_grant.grant_type);
  p_grant.priority := coalesce(p_grant.priority, (v_type -> 'priority')::smallint, 50);
  p_grant.pays_for := coalesce(p_grant.pays_for, nullif(v_type -> 'pays_for', 'null'));
  p_entry.action_type := coalesce(p_entry.action_type, v_type ->> 'action_type');
  p_grant.granted_at := coalesce(p_grant.granted_at, v_now);
  if (p_grant.granted_at > v_now) <> p_begins_later then -- @granted-in-the-past
    if p_begins_later then
      perform tokenbook.refuse('invalid_starts_at', '{"field": "p_starts_at", "rule": "in the future"}');
    end if;
    perform tokenbook.refuse('invalid_granted_at', '{"field": "p_granted_at", "rule": "not in the future"}');
  end if;
  p_grant.expires_at := nullif(
    coalesce(
      p_grant.expires_at,
      p_grant.granted_at + coalesce(p_lifetime, (v_type ->> 'lifetime_hours')::integer * interval '1 hour')),
    'infinity');
  if p_grant.expires_at <= v_now then
    perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future"}');
  end if;

  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;
  if v_account.tokens_remaining + v_account.tokens_reserved + v_account.tokens_used
     + p_grant.tokens_granted > 9007199254740991
  then
    perform tokenbook.refuse('balance_limit_exceeded', '{"limit": 9007199254740991}');
  end if;

  if p_grant.pays_for is not null then
    if v_account.restricted_until > v_now
      and (select count(*) from public.token_balances b
         where b.user_id = p_entry.user_id and b.is_open and b.pays_for is not null)
       + (select count(distinct b.id) from public.token_holds h -- what is held comes back
           cross join lateral unnest(h.grant_ids) as part (grant_id)
            join public.token_balances b on b.user_id = p_entry.user_id and b.id = part.grant_id
           where h.user_id = p_entry.user_id and h.status = 'open' and not b.is_open and b.pays_for is not null)
       + (select count(*) from tokenbook.upcoming_grants u
            join public.token_transactions t on t.user_id = p_entry.user_id and t.id = u.transaction_id
           where u.user_id = p_entry.user_id and t.terms -> 'upcoming' ? 'pays_for')
       >= (tokenbook.limits() -> 'restricted_grants')::integer -- @restricted-grants-are-few
    then
      perform tokenbook.refuse('too_many_restricted_grants', jsonb_build_object('limit', tokenbook.limits() -> 'restricted_grants'));
    end if;
    perform tokenbook.note_restricted_grants(p_entry.user_id, p_grant.expires_at);
  end if;
  if p_begins_later then
    transaction := tokenbook.schedule_grant(p_grant, p_entry, v_now);
    granted := tokenbook.upcoming_grant(transaction);
    tokens_remaining := transaction.balance_after;
    return;
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     payment_id, subscription_id, period_start, pays_for, cost_basis_cents, currency, metadata, created_at)
  values
    (p_entry.user_id, p_grant.grant_type, p_grant.tokens_granted, p_grant.tokens_granted,
     p_grant.priority, p_grant.granted_at, p_grant.expires_at,
     p_grant.payment_id, p_grant.subscription_id, p_grant.period_start, p_grant.pays_for,
     p_grant.cost_basis_cents, p_grant.currency, p_grant.metadata, v_now)
  returning * into granted;

  -- record
  p_entry.entry_type := 'grant';
  p_entry.tokens := granted.tokens_granted;
  p_entry.grant_ids := array[granted.id];
  p_entry.grant_tokens := array[granted.tokens_granted];
  p_entry.metadata := granted.metadata;
  v_terms := jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(granted)));
  if p_entry.terms is null then
    p_entry.terms := v_terms;
  else
    p_entry.terms := p_entry.terms || v_terms;
  end if;
  if p_entry.payment_id is not null then
    p_entry.terms := p_entry.terms || jsonb_build_object('payment', (
      select jsonb_strip_nulls(to_jsonb(p)
               - array['user_id', 'status', 'tokens', 'refunded_cents', 'disputed_cents', 'tokens_clawed_back', 'tokens_lapsed', 'reason'])
        from public.token_payments p where p.user_id = p_entry.user_id and p.id = p_entry.payment_id));
  end if;
  p_entry.created_at := v_now;
  transaction := tokenbook.record_transaction(p_entry, p_due_at => granted.expires_at);
  if granted.cost_basis_cents is not null then
    perform tokenbook.note_sale(p_entry.user_id, granted.id, transaction.id - 1);
  end if;

  tokens_remaining := tokenbook.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function tokenbook.issue_grant is
  'Gives tokens as one new grant under the account''s lock: that grant and its transaction, new or replayed, and what the account has then; is_behind where more was due than one call books.';
