/*
 * Puts a user on a plan and gives the tokens of one period, in one transaction: subscription, grant, plan limit and
 * storage, or nothing at all. Every way onto a plan calls it (registration, approval, upgrade, renewal, initial plan), so
 * limit and balance agree whichever way a user came.
 *
 * p_entry is the transaction to be written (user_id, actor, reason, key, request, payment_id). A payment is granted
 * once, and so is a period without one; a second call answers replayed and changes no tokens. A renewal of a plan with a
 * balance cap gives only what fills the balance up to it. If that is nothing, no grant is made, transaction is NULL, and
 * an entry of 0 tokens says that the period began. The entry keeps the subscription and the storage (terms).
 * When the period before closes with it, its unused tokens are carried over first, within the limits of its plan
 * (tokenbook.roll_over).
 *
 * Each payment has a period of its own, whatever else was paid for. The order in which payments arrive does not decide
 * which is in force: a payment for a lower plan (tokenbook.plan_precedence), or for an earlier period of an equal one, is
 * kept beside the plan in force, unless it was to follow it, and comes into force when that one ends. A plan that
 * another replaces is kept beside it in the same way, until its own end. A payment for a period that is over gives its
 * tokens.
 * If the plan has a schedule, the period's grant is its first slot; the others follow as they begin
 * (tokenbook.issue_slots). A payment for a period whose slots have all begun gives them at once.
 * Tokens are added, never reset. The plan limit (tokens_limit) becomes the balance afterwards.
 * A plan whose grants are trials gives what the policy allows this person (tokenbook.take_trial). If that is nothing, an
 * initial plan does not begin: transaction is NULL, and the subscription stays as it was.
 * Locks: the account.   Errors: as issue_grant, trial_already_taken, trial_needs_identity.   Keeps: I2 to I5, I9, I10.
 */
create function tokenbook.start_period(
  p_plan public.token_plans,
  p_period_start timestamptz,
  p_payment_method text,
  p_provider_payment_id text,
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean,
  out subscription tokenbook.subscriptions
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
  v_start timestamptz;
  v_grant public.token_balances;
  v_of_period public.token_balances;
  v_issued record;
  v_was tokenbook.subscriptions;
  v_asked tokenbook.subscriptions;
  v_begun tokenbook.subscriptions;
  v_is_over boolean;
  v_is_past boolean;
  v_is_beside boolean;
  v_storage public.token_storage_quotas;
  v_terms jsonb;
begin
  replayed := false;

  -- lock
  v_account := tokenbook.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;
  v_start := coalesce(p_period_start, v_now);

  -- replay: by key, by payment, by period
  select s.* into subscription from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
  transaction := tokenbook.find_replay(p_entry);
  if transaction.id is null then
    if p_period_start is not null then
      v_of_period := tokenbook.grant_of_period(p_entry.user_id, subscription.id, p_plan.plan_type, p_period_start);
      -- a period that was renewed before its payment came is what that payment paid for
      if p_entry.payment_id is not null and v_of_period.id is not null and v_of_period.payment_id is null then
        update public.token_balances b
           set payment_id = p_entry.payment_id
         where b.user_id = p_entry.user_id and b.id = v_of_period.id;
        perform tokenbook.pay_for_period(p_plan.plan_type, p_period_start, p_entry);
        select s.* into subscription from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
      end if;
    end if;
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = p_entry.user_id and t.entry_type = 'grant' and t.action_type = any (tokenbook.grant_action_types())
        and t.created_at = b.created_at and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id
       and case when p_entry.payment_id is not null then b.payment_id = p_entry.payment_id
                else b.id = v_of_period.id end; -- @period-given-once
  end if;
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act: of a trial as much as the policy gives; an initial plan that it does not give does not begin
  if p_plan.grant_type = 'trial' then
    p_plan.tokens := tokenbook.take_trial(p_plan, p_provider_payment_id, p_entry);
    if p_plan.tokens is null then
      return;
    end if;
  end if;

  -- act: the subscription, unless a later period has taken this one's place
  perform tokenbook.settle_subscription(p_entry.user_id); -- @due-downgrade-first
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
  subscription := v_was;
  v_is_over := p_entry.payment_id is not null
    and coalesce(tokenbook.period_end(p_plan, v_start) <= v_now, false);
  v_is_past := v_is_over
    and tokenbook.period_end(p_plan, v_start) + tokenbook.grace_of(p_plan) * interval '24 hours' <= v_now;
  v_asked.user_id := p_entry.user_id;
  v_asked.plan_type := p_plan.plan_type;
  v_asked.payment_id := p_entry.payment_id;
  v_is_beside := coalesce(p_entry.payment_id is not null and v_was.user_id is not null
    and (v_was.next_plan_type = p_plan.plan_type and v_was.expires_at <= v_start) is not true
    and case when v_was.ended_at is not null then v_is_past and v_start < v_was.period_start
             when v_was.paused_at is not null or v_is_past then v_is_past
             else (tokenbook.plan_precedence(v_asked), v_start)
                  < (tokenbook.plan_precedence(v_was), v_was.period_start) end, false); -- @higher-rank-stays
  if not v_is_beside and v_was.period_start < v_start and v_was.ended_at is null then
    -- the period that closes
    perform tokenbook.roll_over(v_was, v_start, p_entry.actor_role, p_entry.actor_id, v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;
  subscription := tokenbook.begin_plan(
    v_was, p_plan, v_start,
    -- a first plan that is given late does not make up earlier slots; of a period that is over all slots are given at once
    case when p_entry.actor_role = 'system' or v_is_over then v_now else v_start end,
    p_payment_method, coalesce(p_entry.payment_id::text, p_provider_payment_id), p_entry.user_id, v_is_beside,
    -- what a provider charges by periods, it charges again
    p_entry.payment_id is not null and p_period_start is not null and p_payment_method <> 'manual'
      or p_entry.action_type is not distinct from 'renewal_grant' and v_was.plan_type = p_plan.plan_type and v_was.auto_renew is true, v_now);
  perform tokenbook.keep_subscription(subscription);
  -- its provider may have ended it before its payment was told
  if not v_is_beside then
    select p.* into v_begun
      from tokenbook.plans_of(subscription) p
     where p.plan_type = p_plan.plan_type and p.period_start = v_start
       and p.payment_id is not distinct from coalesce(p_entry.payment_id::text, p_provider_payment_id);
    v_begun.ended_at := null;
    v_begun.beside := '[]';
    perform tokenbook.tell_of_ends(v_begun, v_now); -- @over-before-it-began
  end if;

  -- act: its storage
  if p_plan.storage_gb > 0 then
    insert into public.token_storage_quotas (user_id, quota_gb, subscription_id, metadata)
    select p_entry.user_id, p_plan.storage_gb, subscription.id, jsonb_build_object('plan', p_plan.plan_type)
     where not exists (
       select 1 from public.token_storage_quotas q
        where q.user_id = p_entry.user_id and q.subscription_id = subscription.id
          and q.metadata ->> 'plan' = p_plan.plan_type)
    returning * into v_storage;
  end if;
  v_terms := jsonb_strip_nulls(jsonb_build_object(
    'subscription', tokenbook.subscription_terms(subscription),
    'storage', case when v_storage.id is not null then to_jsonb(v_storage) - 'user_id' end));

  -- act: the tokens
  v_grant.tokens_granted := p_plan.tokens;
  if p_plan.balance_cap is not null and p_entry.action_type = 'renewal_grant' then -- @cap-on-renewals-only
    v_grant.tokens_granted := least(p_plan.tokens, p_plan.balance_cap - v_account.tokens_remaining);
  elsif p_plan.refill_to is not null and p_entry.action_type = 'renewal_grant' then
    v_grant.tokens_granted := least(
      p_plan.tokens, p_plan.refill_to - tokenbook.plan_tokens_at(p_entry.user_id, subscription.id, v_now));
  elsif v_is_over and p_plan.issue_every is not null and p_plan.refill_to is null then
    v_grant.tokens_granted := p_plan.tokens * (1 + tokenbook.slot_number(
      tokenbook.plan_schedule(p_plan), v_start,
      coalesce(tokenbook.period_end(p_plan, v_start), v_now) - interval '1 microsecond'));
  end if;
  if v_grant.tokens_granted > 0 then
    v_grant.grant_type := p_plan.grant_type;
    v_grant.priority := 50;
    v_grant.expires_at := case when p_plan.grant_lifetime_days is null then 'infinity' end;
    if (p_plan.issue_every is not null or p_plan.grant_type = 'trial') and not v_is_over is true
      and coalesce(v_start + p_plan.grant_lifetime_days * interval '24 hours' > v_now, true)
    then
      v_grant.granted_at := least(v_start, v_now); -- the life of a slot's tokens begins with the slot, of a trial's with the trial
    end if;
    v_grant.payment_id := p_entry.payment_id;
    v_grant.subscription_id := subscription.id;
    -- a second payment in one period is a grant of its own, beside the period's
    if not exists (
      select 1 from public.token_balances b
       where b.user_id = p_entry.user_id and b.subscription_id = subscription.id and b.period_start = v_start)
    then
      v_grant.period_start := v_start;
    end if;
    v_grant.metadata := coalesce(p_entry.metadata, '{}');
    p_entry.terms := v_terms;
    p_entry.action_type := case
      when p_plan.grant_type = 'trial' then 'trial_grant'
      else coalesce(p_entry.action_type, 'subscription_grant')
    end;
    v_issued := tokenbook.issue_grant(v_grant, p_entry, p_plan.grant_lifetime_days * interval '24 hours');
    if v_issued.is_behind then
      perform tokenbook.refuse('busy', '{}');
    end if;
    transaction := v_issued.transaction;
  else
    -- the period begins without tokens: the ledger says who began it
    p_entry.terms := v_terms;
    p_entry.entry_type := 'usage';
    p_entry.action_type := 'plan_change';
    p_entry.tokens := 0;
    p_entry.grant_ids := '{}';
    p_entry.grant_tokens := '{}';
    p_entry.created_at := clock_timestamp();
    perform tokenbook.record_transaction(p_entry);
  end if;

  -- record: the plan limit is the balance
  update tokenbook.subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where s.user_id = p_entry.user_id and a.user_id = p_entry.user_id
  returning s.* into subscription;
  perform tokenbook.bring_due_forward(p_entry.user_id, tokenbook.plan_due_at(p_entry.user_id));
  perform tokenbook.refresh_alert_thresholds(p_entry.user_id);
end
$$;
comment on function tokenbook.start_period is
  'Puts a user on a plan and gives a period''s tokens in one transaction; once per payment, and once per subscription and period.';
