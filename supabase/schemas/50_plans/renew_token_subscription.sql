/*
 * Starts the next period of a user's subscription: a new grant, never a reset, made once per period.
 * After a downgrade it is the period of the lower plan. Left out, p_period_start is the end of the
 * present period; of a plan that has ended, now. Nothing changes before that moment.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, subscription_not_found, not_due_yet,
 * trial_already_taken, trial_needs_identity, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.renew_token_subscription(
  p_user_id uuid,
  p_period_start timestamptz default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_subscription tokenbook.subscriptions;
  v_plan public.token_plans;
  v_start timestamptz;
  v_present public.token_balances;
  v_started record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_account(p_user_id);
  perform tokenbook.settle_subscription(p_user_id); -- @due-downgrade-first
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is null or v_subscription.paused_at is not null then
    perform tokenbook.refuse('subscription_not_found', '{}');
  end if;
  -- nobody pays for time in which no plan was in force
  v_start := coalesce(
    p_period_start,
    case when v_subscription.ended_at is not null then clock_timestamp() else v_subscription.expires_at end); -- @renewed-after-the-end
  v_present := tokenbook.grant_of_period(p_user_id, v_subscription.id, v_subscription.plan_type, v_start);
  if v_present.id is null
    and (v_start >= v_subscription.expires_at and v_start <= clock_timestamp()) is not true
  then
    perform tokenbook.refuse('not_due_yet', jsonb_build_object('due_at', v_subscription.expires_at));
  end if;

  select p.* into v_plan from public.token_plans p
   where p.plan_type = case when v_present.id is null then coalesce(v_subscription.next_plan_type, v_subscription.plan_type)
                            else v_subscription.plan_type end;
  v_entry.user_id := p_user_id;
  v_entry.action_type := 'renewal_grant';
  v_entry.reason := v_plan.plan_type || ' renewal';
  v_entry.metadata := '{}';
  v_started := tokenbook.start_period(v_plan, v_start, v_subscription.payment_method, null, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    -- of the period that it began, whatever else is in force
    'plan_type', v_plan.plan_type,
    'period_start', v_start,
    'expires_at', tokenbook.period_end(v_plan, v_start),
    'tokens_granted', coalesce(v_transaction.tokens, 0),
    'tokens_limit', v_subscription.tokens_limit,
    'tokens_remaining', coalesce(tokenbook.remaining_after(v_transaction), v_account.tokens_remaining),
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function tokenbook.renew_token_subscription is
  'Starts the next period of a subscription: a new grant, once per period; after a downgrade, of the lower plan. For an admin or the server. p_period_start left out: the end of the present period, or now when the plan has ended meanwhile (and no other has taken its place). Returns {success, plan_type, period_start, expires_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: subscription_not_found, not_due_yet, trial_already_taken, trial_needs_identity, balance_limit_exceeded, forbidden, busy.';
