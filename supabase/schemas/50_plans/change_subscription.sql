/*
 * Brings a subscription to that row, with an entry of 0 tokens in the ledger that keeps it: who or what changed the
 * plan, why, and what it is since then (terms). A function that changes it together with tokens keeps it in the entry of those tokens.
 * p_entry is the transaction to be: reason, actor, metadata; created_at, where it is one of several of one moment.
 * Does nothing where the row is that already.
 * Caller: internal, holding the account's lock.   Keeps: I3, I9, I10.
 */
create function tokenbook.change_subscription(
  p_subscription tokenbook.subscriptions,
  p_entry public.token_transactions
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was tokenbook.subscriptions;
begin
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_subscription.user_id;
  p_subscription.updated_at := v_was.updated_at;
  if v_was is not distinct from p_subscription then
    return;
  end if;
  p_subscription.updated_at := clock_timestamp();
  perform tokenbook.keep_subscription(p_subscription);
  perform tokenbook.bring_due_forward(p_subscription.user_id, tokenbook.plan_due_at(p_subscription.user_id));
  p_entry.user_id := p_subscription.user_id;
  p_entry.entry_type := 'usage';
  p_entry.action_type := 'plan_change';
  p_entry.tokens := 0;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  p_entry.metadata := coalesce(p_entry.metadata, '{}');
  p_entry.terms := jsonb_build_object('standing', tokenbook.subscription_terms(p_subscription));
  p_entry.created_at := coalesce(p_entry.created_at, clock_timestamp());
  perform tokenbook.record_transaction(p_entry);
  perform tokenbook.refresh_alert_thresholds(p_subscription.user_id); -- @rules-follow-the-plan
end
$$;
comment on function tokenbook.change_subscription is
  'Brings a subscription to that row, with an entry of 0 tokens that keeps it and says why; nothing where it is that already.';
