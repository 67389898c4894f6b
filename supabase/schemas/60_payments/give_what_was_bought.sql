/*
 * Gives what a payment bought, once, on the terms it was asked for at, whatever the catalogue says since: of a plan
 * its period (tokenbook.start_period); of a pack its tokens, as many as were bought in one grant, and the
 * subscription stays as it is. What approval and the providers' events have in common.
 * p_entry is the transaction to be: user_id, reason, actor, metadata.
 * Locks: the account.   Returns the payment, which says what it gave; its transaction, replayed where it had
 * been given before.   Errors: as issue_grant, too_many_plans.   Keeps: I2 to I5, I9 to I12.
 */
create function tokenbook.give_what_was_bought(
  p_payment public.token_payments,
  p_period_start timestamptz,
  p_entry public.token_transactions,
  out payment public.token_payments,
  out transaction public.token_transactions,
  out replayed boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_grant public.token_balances;
  v_given record;
  v_period tokenbook.subscriptions; -- of a plan
  v_first_id bigint; -- which gave something of it, before it was paid for
begin
  p_entry.payment_id := p_payment.id;
  if p_payment.to_plan is not null then
    if p_payment.tokens is null -- @paid-plans-are-bounded begin
      and (select jsonb_array_length(tokenbook.kept_beside(row(s.*)::tokenbook.subscriptions, clock_timestamp())) from tokenbook.subscriptions s where s.user_id = p_entry.user_id)
          >= (tokenbook.limits() -> 'plans_beside')::integer
    then
      perform tokenbook.refuse('too_many_plans', jsonb_build_object('limit', tokenbook.limits() -> 'plans_beside'));
    end if; -- @paid-plans-are-bounded end
    select p.* into v_plan from public.token_plans p where p.plan_type = p_payment.to_plan;
    v_plan.tokens := p_payment.terms ->> 'tokens'; -- @tokens-as-asked
    v_plan.grant_lifetime_days := p_payment.terms ->> 'grant_lifetime_days';
    v_plan.articles_limit := p_payment.terms ->> 'articles_limit';
    v_plan.storage_gb := p_payment.terms ->> 'storage_gb';
    v_plan.features := p_payment.terms -> 'features';
    v_plan.issue_every := p_payment.terms ->> 'issue_every';
    v_plan.issue_on := coalesce(p_payment.terms ->> 'issue_on', v_plan.issue_on);
    v_plan.refill_to := p_payment.terms ->> 'refill_to';
    v_given := tokenbook.start_period(
      v_plan, p_period_start, p_payment.provider, p_payment.provider_payment_id, p_entry);
    transaction := v_given.transaction;
    replayed := v_given.replayed;
  else
    perform tokenbook.lock_account(p_entry.user_id);
    perform tokenbook.settle_subscription(p_entry.user_id);
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = p_entry.user_id and t.entry_type = 'grant' and t.action_type = any (tokenbook.grant_action_types())
        and t.created_at = b.created_at and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id and b.payment_id = p_payment.id;
    replayed := transaction.id is not null;
    if not replayed then
      v_grant.grant_type := 'purchase';
      v_grant.tokens_granted := (p_payment.terms ->> 'tokens')::bigint * p_payment.quantity; -- @packs-as-asked
      v_grant.priority := p_payment.terms ->> 'priority';
      v_grant.expires_at := case when p_payment.terms ->> 'lifetime_days' is null then 'infinity' end;
      v_grant.payment_id := p_payment.id;
      v_grant.metadata := p_entry.metadata;
      v_given := tokenbook.issue_grant( -- @packs-leave-the-plan begin
        v_grant, p_entry, (p_payment.terms ->> 'lifetime_days')::integer * interval '24 hours');
      if v_given.is_behind then
        perform tokenbook.refuse('busy', '{}');
      end if; -- @packs-leave-the-plan end
      transaction := v_given.transaction;
    end if;
  end if;

  -- what it gave, for what a refund takes back
  update public.token_payments p
     set tokens = b.tokens_granted + coalesce((
           select sum(t.tokens) -- what its period gave before it was paid for
             from public.token_transactions t
            where t.user_id = p_entry.user_id and t.entry_type = 'grant' and t.action_type = 'scheduled_grant' -- @slots-by-their-index
              and t.created_at >= b.period_start
              and t.terms -> 'slots' ->> 'plan_type' = p.to_plan and not t.terms -> 'slots' ? 'payment_id'
              and (t.terms -> 'slots' ->> 'period_start')::timestamptz = b.period_start), 0)
    from public.token_balances b
   where p.user_id = p_entry.user_id and p.id = p_payment.id
     and b.user_id = p_entry.user_id and b.payment_id = p.id and p.tokens is null
  returning p.* into payment;
  if payment.id is null then
    payment := p_payment; -- what it has given since is more
  elsif p_payment.to_plan is not null then
    v_first_id := tokenbook.note_money_of_period(payment); -- @paid-later-is-money
  end if;
  if transaction.id is not null then
    select o.* into v_period
      from tokenbook.plans_of((select row(s.*)::tokenbook.subscriptions from tokenbook.subscriptions s where s.user_id = p_entry.user_id)) o
     where o.payment_id = p_payment.id::text;
    perform tokenbook.note_sale(p_entry.user_id, p_payment.id, least(transaction.id, v_first_id) - 1, v_period); -- @sales-are-noted
  end if;
end
$$;
comment on function tokenbook.give_what_was_bought is
  'Gives the plan or the packs of a payment, once, on the terms it was asked for at.';
