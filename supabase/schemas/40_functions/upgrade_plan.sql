/*
 * Changes a user's plan, for the server. To a plan of a higher or equal rank at once, with its tokens
 * added in this commit; to a lower one at the end of the period, and no token is taken away.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text,
  p_payment_id text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_plan public.token_plans;
  v_subscription public.user_subscriptions;
  v_is_scheduled boolean;
  v_transaction public.token_transactions;
  v_started record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, null, null);
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  if v_plan.plan_type is null then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  v_entry.user_id := p_user_id;
  v_entry.reason := 'upgrade to ' || p_plan_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_entry.metadata := '{}';
  v_transaction := private.find_replay(v_entry);

  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  if v_transaction.id is null and v_subscription.is_active and v_subscription.expires_at > clock_timestamp()
    and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)
  then
    if v_account.next_due_at <= clock_timestamp() then
      perform private.book_expiries(array[p_user_id], clock_timestamp());
      v_account := private.lock_account(p_user_id);
    end if;
    v_is_scheduled := v_subscription.next_plan_type is not distinct from p_plan_type;
    update public.user_subscriptions s
       set next_plan_type = p_plan_type, updated_at = clock_timestamp()
     where s.user_id = p_user_id
    returning s.* into v_subscription;
    return jsonb_build_object(
      'success', true, 'plan_type', p_plan_type, 'effective', 'period_end',
      'effective_at', v_subscription.expires_at, 'tokens_granted', 0,
      'tokens_limit', v_subscription.tokens_limit, 'tokens_remaining', v_account.tokens_remaining,
      'transaction_id', null, 'replayed', v_is_scheduled);
  end if;

  v_started := private.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', 'now',
    'effective_at', v_transaction.created_at,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed
      -- the mark as it was then: what came in, less what it repaid at once
      then v_transaction.balance_after + coalesce((
        select t.tokens from public.token_transactions t
         where t.user_id = p_user_id and t.id = v_transaction.id + 1 and t.entry_type = 'debt_repayment'), 0)
      else v_subscription.tokens_limit
    end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.upgrade_plan(uuid, text, text, text, text) is 'See public.upgrade_plan.';
revoke all on function private.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

create or replace function public.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.upgrade_plan(p_user_id, p_plan_type, p_payment_method, p_payment_id, p_idempotency_key);
end
$$;
comment on function public.upgrade_plan(uuid, text, text, text, text) is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away. p_payment_method (card, paypal, …) and p_payment_id are kept with the subscription. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;
