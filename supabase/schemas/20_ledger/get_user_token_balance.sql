/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not, and what the plan's schedule gives is; if something is
 * due and the account is free, it is booked on the way, so that the account row that frontends watch is right again. A user
 * who never had a grant and has a plan is given its tokens first, once; a plan that has ended, or a downgrade whose time
 * has come, is recorded.
 * On a read replica, or in a transaction that is read-only, the answer is the same and nothing is booked; where something
 * has to be written first (a user's first plan, or more than ten portions are due), it is refused.
 * A member of a team is told of their payer's account, which is what they can spend.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, busy, read_only.   Keeps: I7, I11.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create function tokenbook.get_user_token_balance(p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role text := 'service';
  v_account_id uuid;
  v_now timestamptz;
  v_is_due boolean;
  v_may_book boolean;
  v_balance jsonb;
begin
  if not tokenbook.is_plain_server_call(p_user_id) then -- @balance-asks-who: the server may ask for anyone
    v_actor_role := (tokenbook.authorize(p_user_id, p_self_may => true)).actor_role;
  end if;

  -- as a rule nothing has to be done first
  v_balance := tokenbook.read_balance(p_user_id);
  if v_balance is not null then -- @nothing-done-first
    return v_balance;
  end if;

  v_now := clock_timestamp();
  v_account_id := tokenbook.paying_account(p_user_id);
  if tokenbook.settle_backlog(v_account_id, p_portions => 10) then
    return tokenbook.answer_busy();
  end if;

  v_may_book := not current_setting('transaction_read_only')::boolean; -- @replicas-book-nothing
  if v_may_book and not exists (select 1 from public.token_balances b where b.user_id = v_account_id) then
    perform tokenbook.grant_initial_plan(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  elsif not v_may_book and (tokenbook.plan_to_begin(v_account_id)).plan_type is not null then -- @first-plans-are-written
    perform tokenbook.refuse('read_only', '{}');
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform tokenbook.require_user(v_account_id, v_actor_role);
  elsif v_is_due and v_may_book then
    perform 1 from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform tokenbook.record_expiries(array[v_account_id], v_now, p_in_portions => true);
    end if;
  end if;

  return tokenbook.read_balance(p_user_id, v_account_id);
end
$$;
comment on function tokenbook.get_user_token_balance is
  'What the user can spend now. For the user themself (leave p_user_id out), an admin, or the server. Returns {user_id, state (active, or frozen: nothing can be spent), total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the plan limit: the balance when it was last filled, by a plan, a pack or a grant), plan_type (the plan that is in force; null = none), next_expiry, grants (in the order in which they will be spent, at most 100): [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, pays_for (null: everything)}], has_more_grants}, and overdraft_limit where nothing is left and more than 0 may be owed; for a member of a team, of their payer''s account, with payer_id. Errors: not_authenticated, forbidden, busy (more has run out than ten calls book), read_only (a read replica: something has to be written first).';
