/*
 * Approves a pending payment: its plan and tokens, in this commit. Tokens are added to what the user
 * has, and the plan limit becomes the new total. The payment is its own key: approving twice
 * answers what the first time answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, trial_already_taken, trial_needs_identity, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.approve_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_payment public.token_payments;
  v_plan public.token_plans;
  v_started record;
  v_transaction public.token_transactions;
  v_subscription public.token_subscriptions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(null, p_reason, null);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_account(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'approved') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  select p.* into v_plan from public.token_plans p where p.plan_type = v_payment.to_plan;
  if v_payment.status = 'pending' then
    update public.token_payments p
       set status = 'approved', tokens = v_plan.tokens, reason = p_reason,
           decided_at = clock_timestamp(), decided_by = v_entry.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.payment_id := p_payment_id;
  v_entry.metadata := '{}';
  v_started := tokenbook.start_period(v_plan, null, v_payment.provider, v_payment.provider_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;

  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', 'approved',
    'plan_type', v_payment.to_plan,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed
      -- the plan limit as it was then: what came in, less what it repaid at once
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
comment on function tokenbook.approve_token_payment is
  'Approves a pending payment: the plan and its tokens in one commit, added to what the user has; the plan limit becomes the new total. For an admin or the server. Approving twice changes nothing and answers replayed. Returns {success, payment_id, status, plan_type, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, trial_already_taken, trial_needs_identity, balance_limit_exceeded, forbidden, busy.';
