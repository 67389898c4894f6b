/*
 * Changes a user's plan, for the server. To a plan that is no lower (tokenbook.plan_precedence: what somebody pays
 * for before what nobody does, then the rank) at once, with its tokens added in this commit; to a lower one at the end
 * of the period, and no token is taken away. A payment for that plan would come to the same.
 * A change to a lower plan has an entry of 0 tokens: the ledger says who made it, and keeps its key
 * and what it answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_payment, plan_not_found,
 * idempotency_key_reused, user_not_found, account_frozen (without a payment), trial_already_taken,
 * trial_needs_identity, balance_limit_exceeded, busy.
 * Keeps: I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.change_token_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
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
  v_now timestamptz;
  v_plan public.token_plans;
  v_subscription tokenbook.subscriptions;
  v_asked tokenbook.subscriptions;
  v_transaction public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  if octet_length(p_payment_method) > 64 or p_payment_method !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_payment', '{"field": "p_payment_method", "rule": "1 to 64 bytes, not all blank"}');
  elsif octet_length(p_payment_id) > 255 or p_payment_id !~ '[^[:space:]]' then -- @payment-ids-are-bounded
    perform tokenbook.refuse('invalid_payment', '{"field": "p_payment_id", "rule": "1 to 255 bytes, not all blank"}');
  end if;

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay: before the catalogue is asked, which may have changed since
  v_entry.user_id := p_user_id;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_transaction := tokenbook.find_replay(v_entry);
  if v_transaction.id is null then
    v_replayed := false;
    if p_payment_id is null then -- what was paid is given
      perform tokenbook.require_active(p_user_id, v_account);
    end if;

    -- act
    perform tokenbook.settle_subscription(p_user_id);
    select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
    if v_plan.plan_type is null then
      perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
    end if;
    select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
    v_asked.user_id := p_user_id;
    v_asked.plan_type := p_plan_type;
    v_asked.payment_id := p_payment_id;
    if v_subscription.ended_at is null and v_subscription.paused_at is null and v_subscription.expires_at > v_now
      and tokenbook.plan_precedence(v_asked) < tokenbook.plan_precedence(v_subscription) -- @both-ways-agree
    then
      perform tokenbook.require_trial(p_user_id, p_plan_type);
      if v_account.user_id is null then
        v_account := tokenbook.lock_account(p_user_id, p_create => true);
      end if;
      if v_account.next_due_at <= v_now then
        perform tokenbook.record_expiries(array[p_user_id], v_now);
      end if;
      update tokenbook.subscriptions s
         set next_plan_type = p_plan_type, updated_at = v_now
       where s.user_id = p_user_id
      returning s.* into v_subscription;
      perform tokenbook.bring_due_forward(p_user_id, tokenbook.plan_due_at(p_user_id));
      v_entry.reason := 'downgrade to ' || p_plan_type;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type,
        'effective_at', v_subscription.expires_at, 'tokens_limit', v_subscription.tokens_limit);
    else
      v_entry.reason := 'upgrade to ' || p_plan_type;
      select (started.transaction).* into v_transaction
        from tokenbook.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry) as started;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type);
    end if;

    -- record: what gave no tokens
    if v_transaction.id is null then
      v_entry.entry_type := 'usage'; -- @plan-change-keeps-key
      v_entry.action_type := 'plan_change';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_entry.created_at := clock_timestamp();
      v_transaction := tokenbook.record_transaction(v_entry);
    end if;
  end if;

  -- what it answers is read off its entry, so that a retry is told the same
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', case when v_transaction.metadata ? 'effective_at' then 'period_end' else 'now' end,
    'effective_at', coalesce((v_transaction.metadata ->> 'effective_at')::timestamptz, v_transaction.created_at),
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', coalesce((v_transaction.metadata ->> 'tokens_limit')::bigint, tokenbook.remaining_after(v_transaction)),
    'tokens_remaining', tokenbook.remaining_after(v_transaction),
    'transaction_id', v_transaction.id,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.change_token_plan is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away, with an entry of 0 tokens. What somebody pays for (it costs something, or p_payment_id says so) is higher than what nobody does, whatever the ranks. p_payment_method (card, paypal, …; 1 to 64 bytes) and p_payment_id (1 to 255 bytes) are kept with the subscription; p_idempotency_key makes a retry safe for ever. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_payment, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen (without p_payment_id), trial_already_taken, trial_needs_identity (of a plan whose grants are trials), balance_limit_exceeded, forbidden, busy.';
