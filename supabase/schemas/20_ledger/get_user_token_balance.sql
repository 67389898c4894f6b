/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not, and what the plan's schedule gives is; if something is
 * due and the account is free, it is booked on the way, so that the account row that frontends watch is right again (but
 * not in a transaction that is read-only). A user who never had a grant and has a plan is given its tokens first, once;
 * a plan that has ended, or a downgrade whose time has come, is recorded.
 * A member of a team is told of his payer's account, which is what he can spend.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, busy.   Keeps: I7, I11.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create function tokenbook.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz;
  v_is_due boolean;
  v_may_book boolean;
  v_balance jsonb;
begin
  if current_setting('role') <> 'service_role' then -- @balance-asks-who: the server may ask for anyone; of nobody, below
    perform tokenbook.authorize(p_user_id, p_self_may => true);
  else
    perform tokenbook.check_body(); -- @server-sends-one-object
  end if;
  v_balance := tokenbook.get_balance_fast_path(p_user_id);
  if v_balance is not null then -- @balance-fast-path
    return v_balance;
  end if;

  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  v_now := clock_timestamp();
  v_account_id := tokenbook.paying_account(p_user_id);
  if tokenbook.settle_backlog(v_account_id, p_portions => 10) then
    return tokenbook.answer_busy();
  end if;

  v_may_book := not current_setting('transaction_read_only')::boolean;
  if v_may_book and not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform tokenbook.grant_initial_plan(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if v_may_book and exists (
    select from tokenbook.subscriptions s
     where s.user_id = v_account_id and (s.expires_at <= v_now or s.cancel_at <= v_now)
       and tokenbook.subscription_at(s, v_now) is distinct from s)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform tokenbook.settle_subscription(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform tokenbook.require_user(v_account_id, v_actor.actor_role);
  elsif v_is_due and v_may_book then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform tokenbook.record_expiries(array[v_account_id], v_now, p_in_portions => true);
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all; what is still due, because
  -- somebody has the account or because it is more than a portion, counts as if it were booked
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'state', case when tokenbook.is_frozen(a, nullif(p_user_id, v_account_id)) then 'frozen' else 'active' end,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned + due.given - due.repaid, 0), -- @balance-is-bigint
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', case
        when due.given > 0 then a.tokens_remaining - due.lost + due.returned + due.given - due.repaid -- as a slot sets it
        else (select s.tokens_limit from public.token_subscriptions s where s.user_id = v_account_id) end,
      'plan_type', (select s.plan_type from public.token_subscriptions s where s.user_id = v_account_id),
      'next_expiry', (
        select least(
                 (select min(b.expires_at) from public.token_balances b
                   where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
                 (select min((d.slot).expires_at) from tokenbook.due_slots(v_account_id, v_now) d where a.next_due_at <= v_now))),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.given), 0)::bigint as given,
              coalesce(sum(d.repaid), 0)::bigint as repaid
         from tokenbook.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(tokenbook.describe_grant(case when g.id is not null then g else d.slot end, chosen.tokens) order by chosen.nth) as grants
         from tokenbook.choose_grants(v_account_id, null, v_now, 101, a.next_due_at <= v_now, due.repaid) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         left join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id
         left join tokenbook.due_slots(v_account_id, case when a.next_due_at <= v_now then v_now end) d -- not booked yet
           on (d.slot).id = chosen.grant_id and g.id is null) listed);
end
$$;
comment on function tokenbook.get_user_token_balance is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, state (active, or frozen: nothing can be spent), total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the plan limit: what the plan filled the balance up to), plan_type (the plan that is in force; null = none), next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden, busy (more has run out than ten calls book).';
