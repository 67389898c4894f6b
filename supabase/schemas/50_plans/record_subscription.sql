/*
 * Records what is due of a user's subscription: a downgrade to a plan that costs nothing, a plan that ended, another
 * that goes on in its place; and what its provider says of it (tokenbook.apply_provider_terms). Correctness
 * does not depend on it: what is in force is shown whether it has been recorded or not
 * (tokenbook.subscription_at). Gives no tokens and takes none; an entry of 0 tokens keeps it, unless slots alone move on.
 * p_moved is the row, with what its provider says, when the caller books what its plans have given until then.
 * Caller: tokenbook.settle_subscription, and tokenbook.issue_slots.
 * Locks: the account.   Keeps: I9, I10.
 */
create function tokenbook.record_subscription(
  p_user_id uuid,
  p_now timestamptz,
  p_moved tokenbook.subscriptions default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_was tokenbook.subscriptions;
  v_is tokenbook.subscriptions;
  v_told tokenbook.subscriptions := p_moved;
  v_entry public.token_transactions;
begin
  v_account := tokenbook.lock_account(p_user_id);
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_account.user_id is null or v_was.user_id is null then
    return;
  end if;
  if p_moved.user_id is null then
    v_told := tokenbook.apply_provider_terms(v_was);
  end if;
  v_is := tokenbook.subscription_at(v_told, p_now);
  if p_moved.user_id is not null then
    v_is := tokenbook.move_slots(v_is, p_now); -- a plan that is in force since then gave its slots too
  end if;
  if v_is is not distinct from v_was then -- as a rule
    return;
  elsif tokenbook.without_slots(v_is) is not distinct from tokenbook.without_slots(v_was) then
    perform tokenbook.keep_subscription(v_is);
    return;
  end if;

  v_entry.reason := case
    when v_is.ended_at is not null then v_is.plan_type || ' ended'
    when v_is.plan_type = v_was.next_plan_type then 'downgrade to ' || v_is.plan_type
    when v_is.plan_type <> v_was.plan_type then v_is.plan_type || ' instead of ' || v_was.plan_type
    when v_is.paused_at is not null then v_is.plan_type || ' is paused'
    when v_is.cancel_at is not null then v_is.plan_type || ' is cancelled'
    else v_is.plan_type || ' goes on'
  end;
  v_entry.actor_role := 'system';
  v_entry.created_at := p_now;
  perform tokenbook.change_subscription(v_is, v_entry);

  perform tokenbook.tell_of_ends(v_told, p_now);
end
$$;
comment on function tokenbook.record_subscription is
  'Records what is due of a user''s subscription: which plan is in force now; changes no tokens.';
