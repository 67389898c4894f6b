/*
 * A grant as a balance lists it, with what is left of it then. In the order of a jsonb's keys (by length, then by
 * name), or each of the grants would be sorted; so is what the balance is made of, below.
 */
create type tokenbook.listed_grant as (
  id uuid, pays_for jsonb, priority smallint, expires_at timestamptz, grant_type text, granted_at timestamptz, tokens_granted bigint,
  tokens_remaining bigint
);
comment on type tokenbook.listed_grant is 'A grant as a balance lists it.';

/*
 * What get_user_token_balance answers: what p_user_id can spend now from p_account_id, their own or their payer's, after the
 * caller has booked what it could. What is still due, because another transaction has locked the account or because it
 * is more than a portion, counts as if it were booked.
 * Without p_account_id: from their own, and only if nothing has to be done first. NULL: something may have to be (the
 * user never had a grant or has spent everything, something is due, their plan is not in force, they are in a team).
 * Caller: tokenbook.get_user_token_balance.   Locks: nothing.   Keeps: I7, I8.
 */
create function tokenbook.read_balance(p_user_id uuid, p_account_id uuid default null)
returns jsonb
language plpgsql
stable -- its statements see one moment, or what changes between two would be counted twice or not at all
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  c_listed constant integer := 100;
  v_account_id constant uuid := coalesce(p_account_id, p_user_id);
  v_now constant timestamptz := clock_timestamp();
  v_state text;
  v_active bigint;
  v_expired bigint;
  v_reserved bigint;
  v_owed bigint;
  v_given bigint;
  v_repaid bigint := 0;
  v_is_member boolean;
  v_is_due boolean;
  v_plan_type text;
  v_tokens_limit bigint;
  v_is_in_force boolean;
  v_is_fifo boolean;
  v_grants tokenbook.listed_grant[];
  v_has_more boolean := false;
  v_next_expiry timestamptz;
  v_balance jsonb;
begin
  select a.state, a.tokens_remaining, a.tokens_expired, a.tokens_reserved, a.tokens_owed, a.payer_id is not null,
         coalesce(a.next_due_at <= v_now, a.alerts_version is null) -- @balance-counts-the-due: and what is elsewhere is unusual
    into v_state, v_active, v_expired, v_reserved, v_owed, v_is_member, v_is_due
    from public.token_accounts a
   where a.user_id = v_account_id;
  select s.plan_type, s.tokens_limit,
         (s.expires_at <= v_now or s.cancel_at <= v_now) is not true -- @balance-plan-in-force
           and s.ended_at is null and s.paused_at is null and s.taken_back_at is null
    into v_plan_type, v_tokens_limit, v_is_in_force
    from tokenbook.subscriptions s
   where s.user_id = v_account_id;
  if p_account_id is null and (v_active > 0 and not v_is_member and not v_is_due and v_is_in_force is not false) is not true then
    return null;
  end if;

  -- what is unusual
  if p_account_id is not null then
    if v_state not in ('active', 'frozen') then -- @balance-that-is-here
      perform tokenbook.refuse_away(v_account_id, v_state);
    end if;
    if v_state is null then -- no account yet
      v_state := 'active';
      v_active := 0;
      v_expired := 0;
      v_reserved := 0;
      v_owed := 0;
      v_is_due := false;
    end if;
    if v_account_id <> p_user_id then
      select case when tokenbook.is_frozen(row(a.*)::public.token_accounts, p_user_id) then 'frozen' else 'active' end into v_state
        from public.token_accounts a
       where a.user_id = v_account_id;
    end if;
    if v_is_in_force is false then
      select s.plan_type into v_plan_type from public.token_subscriptions s where s.user_id = v_account_id;
    end if;
    if v_is_due then
      select v_active - due.lost + due.returned + due.given - due.repaid, v_expired + due.lost + due.forfeited,
             v_reserved - due.returned - due.forfeited, v_owed - due.repaid, due.repaid, due.given
        into v_active, v_expired, v_reserved, v_owed, v_repaid, v_given
        from tokenbook.tokens_due(v_account_id, v_now) as due;
      if v_given > 0 and (v_active > v_tokens_limit or exists (select 1 from tokenbook.due_slots(v_account_id, v_now))) then
        v_tokens_limit := v_active; -- as a slot sets it
      end if;
    end if;
  end if;

  -- the grants, in burn order
  select not r.is_expiring_first into v_is_fifo from tokenbook.project_settings r;
  if v_is_fifo and not v_is_due then -- @usual-grants-as-stored
    select array_agg(row(g.id, g.pays_for, g.priority, g.expires_at, g.grant_type, g.granted_at, g.tokens_granted, g.tokens_remaining)::tokenbook.listed_grant),
           min(g.expires_at)
      into v_grants, v_next_expiry
      from (select f.* from tokenbook.open_grants_fifo(v_account_id, v_now) f limit c_listed + 1) g;
  else
    select array_agg(
             row((g.it).id, (g.it).pays_for, (g.it).priority, (g.it).expires_at, (g.it).grant_type, (g.it).granted_at, (g.it).tokens_granted, g.tokens)::tokenbook.listed_grant
             order by g.nth),
           min((g.it).expires_at)
      into v_grants, v_next_expiry
      from (
        select case when b.id is not null then row(b.*)::public.token_balances else d end as it, chosen.tokens, chosen.nth
          from tokenbook.choose_grants(v_account_id, null, v_now, c_listed + 1, v_is_due, v_repaid) as next
         cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
          left join public.token_balances b on b.user_id = v_account_id and b.id = chosen.grant_id
          left join tokenbook.due_grants(v_account_id, case when v_is_due then v_now end) d -- not booked yet
            on d.id = chosen.grant_id and b.id is null) g;
  end if;
  if v_grants is null then
    if p_account_id is null then
      return null; -- tokens, and no grant
    end if;
    v_grants := '{}';
  elsif cardinality(v_grants) > c_listed then
    v_has_more := true;
    v_grants := v_grants[:c_listed];
    select least(v_next_expiry, min(b.expires_at)) into v_next_expiry
      from public.token_balances b
     where b.user_id = v_account_id and b.is_open and b.expires_at > v_now;
  end if;

  v_balance := jsonb_build_object(
    'state', v_state,
    'grants', v_grants,
    'user_id', p_user_id,
    'plan_type', v_plan_type,
    'total_owed', v_owed,
    'next_expiry', v_next_expiry,
    'tokens_limit', v_tokens_limit,
    'total_active', v_active, -- @balance-is-bigint
    'total_expired', v_expired,
    'total_reserved', v_reserved,
    'has_more_grants', v_has_more);
  if v_active = 0 then -- what is asked next: how much more may be used
    v_balance := v_balance || coalesce((
      select jsonb_build_object('overdraft_limit', o.tokens)
        from public.token_accounts a
       cross join lateral (select tokenbook.overdraft_limit_of(row(a.*)::public.token_accounts) as tokens) o
       where a.user_id = v_account_id and o.tokens > 0), '{}');
  end if;
  if v_account_id <> p_user_id then
    v_balance := v_balance || jsonb_build_object('payer_id', v_account_id);
  end if;
  return v_balance;
end
$$;
comment on function tokenbook.read_balance is
  'What a user can spend now, from their own account or their payer''s, with what is due counted as if it were booked. Without p_account_id: NULL where something may have to be done first.';
