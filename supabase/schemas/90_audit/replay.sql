/*
 * What each grant would have now if every deduction had been spread over the grants exactly: in burn order, and only
 * over grants that had not run out at that moment. It reads one ordered stream of everything that happened, one user
 * after the other, and keeps each user's grants in arrays; there is no query per user.
 *
 * Before the books opened: grants that came from an old transaction begin with their full amount, and the old deductions
 * are spread over them. A grant of unknown history (the app made it beside its transactions) counts with what it is
 * known to have paid, and has at the opening what the opening balance says. The same is true of every grant of a user
 * whose counter had more than all of their grants (tokenbook.grants_at_opening); no old deduction is spread over those.
 *
 * Since the books opened, it follows the ledger:
 * - Deductions and holds are spread anew.
 * - What is given back returns to the grants that this replay took it from.
 * - What moves between a hold and its child is a part of what this replay took for the hold.
 * - A clawback and a repaid debt take from the grants they name, then in burn order.
 * - A rollover takes from the grant that closed, as far as that has enough.
 * - A restatement changes what is stored and never what is exact: after one there is nothing left to restate, and after
 *   its reversal there is all of it again.
 * - A repair by reconciliation is a person's decision that settles what was before it: what was stored then is exact.
 *
 * Where rows were lost, it goes by the rows that are left: grants without an account are replayed, a missing grant pays
 * nothing, and a user with neither account nor grants is left out.
 *
 * A grant that has run out by p_now counts on neither side, booked or not. Use that no grant could pay is uncovered: one
 * more row for that user, without a grant.
 * For one user, for everyone, or for the users after p_after up to p_until.
 * Caller: internal.   Locks: nothing; one snapshot.   Keeps: I8.
 */
create function tokenbook.replay(
  p_user_id uuid,
  p_after uuid,
  p_until uuid,
  p_now timestamptz
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set work_mem = '64MB' -- the stream is sorted once
set plan_cache_mode = force_custom_plan -- one for any range of users goes through everybody's rows for one of them
as $$
declare
  -- rows of the old project with these names are grants, whatever their sign
  c_grants constant text[] := tokenbook.recorded_grant_actions();
  v_users constant uuid[] := tokenbook.users_between(p_user_id, p_after, p_until);
  v_order_since timestamptz[];
  v_order_names text[];
  v_event record;
  v_user_id uuid; -- whose begin it was
  -- the user's grants, each at its place in burn order
  v_ids uuid[];
  v_types text[];
  v_granted bigint[];
  v_granted_at timestamptz[];
  v_expires_at timestamptz[]; -- 'infinity': never
  v_stored bigint[];
  v_opening bigint[];
  v_settled bigint[]; -- what was stored after the last repair, which is this transaction
  v_settled_id bigint;
  v_left bigint[]; -- NULL: not granted yet; a grant that is gone has the place behind the last
  v_count integer;
  v_order integer[]; -- the places in the other burn order, while that is in force
  v_by_expiry integer[];
  v_priorities smallint[];
  v_pays_for jsonb[]; -- NULL: all of them pay for everything
  v_action_type text; -- of a use that a restricted grant is asked to pay
  v_model_used text;
  v_until timestamptz[]; -- when each would run out as was said last: its place in that order; 'infinity': never
  v_head integer; -- what comes before it has nothing left
  v_uncovered bigint;
  v_moved jsonb; -- what was not taken as the ledger says, by transaction or hold: {of, ids, tokens}
  -- of one event
  v_needed bigint;
  v_nth integer;
  v_place integer;
  v_part bigint;
  v_part_ids uuid[];
  v_part_tokens bigint[];
  v_repaid_ids uuid[];
  v_repaid_tokens bigint[];
  v_key text;
  v_of bigint;
  v_homeless bigint;
begin
  select array_agg(o.since order by o.since), array_agg(o.burn_order order by o.since)
    into v_order_since, v_order_names
    from tokenbook.burn_orders o;

  for v_event in
    with accounts as (
      select a.user_id from public.token_accounts a
       where (v_users is null or a.user_id = any (v_users))
      union
      select b.user_id from public.token_balances b
       where (v_users is null or b.user_id = any (v_users))
    ), ledger as not materialized (
      select t.*
        from public.token_transactions t
       where (v_users is null or t.user_id = any (v_users))
    ), openings as (
      select t.user_id, t.grant_ids, t.grant_tokens, t.created_at
        from ledger t where t.entry_type = 'opening_balance' and t.id = 1
    ), opened as (
      select o.user_id, part.grant_id, part.tokens
        from openings o
       cross join lateral unnest(o.grant_ids, o.grant_tokens) as part (grant_id, tokens)
    ), repairs as (
      select r.user_id, max(r.id) as id
        from (
          select t.user_id, t.id
            from ledger t
           where t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^[[:space:]]*reconciliation'
          union all
          -- what closed a difference without saying so; only what is from before the books can be one here
          select o.user_id, (tokenbook.last_repair(o.user_id, p_now)).id
            from openings o
           where exists (
             select 1 from ledger t
              where t.user_id = o.user_id and t.action_type in ('admin_grant', 'admin_deduct') and (t.reason ~* '^[[:space:]]*reconciliation') is not true)) r
        join ledger t on t.user_id = r.user_id and t.id = r.id and t.action_type in ('admin_grant', 'admin_deduct')
       group by r.user_id
    ), settled as (
      select t.user_id, part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from repairs r
        join ledger t on t.user_id = r.user_id and t.id <= r.id and t.tokens <> t.reserved_change
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       group by t.user_id, part.grant_id
    ), counted as (
      select distinct b.user_id
        from openings o
        join public.token_balances b on b.user_id = o.user_id and b.created_at <= o.created_at
       where b.metadata ->> 'source' = 'counter_beyond_grants'
    ), said as (
      -- of grants whose expiry was said anew, what was said first
      select distinct on (t.user_id, t.terms -> 'expiry' ->> 'grant_id') t.user_id, t.terms -> 'expiry' ->> 'grant_id' as grant_id,
             coalesce((t.terms -> 'expiry' ->> 'before')::timestamptz, 'infinity') as before
        from ledger t
       where t.entry_type = 'usage' and t.terms ? 'expiry'
       order by t.user_id, t.terms -> 'expiry' ->> 'grant_id', t.id
    ), grants as (
      select b.*, counted.user_id is not null as is_counted, o.created_at as opened_at, coalesce(said.before, tokenbook.expiry_as_granted(row(b.*)::public.token_balances), 'infinity') as until_at_first, opened.tokens as tokens_opened, settled.tokens as tokens_settled,
             (row_number() over (
               partition by b.user_id
               order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false) -- @replay-oldest-first
             ))::integer as nth
        from public.token_balances b
        left join openings o on o.user_id = b.user_id and b.created_at <= o.created_at -- @old-grants-begin-whole
        left join opened on opened.user_id = o.user_id and opened.grant_id = b.id
        left join settled on settled.user_id = b.user_id and settled.grant_id = b.id
        left join counted on counted.user_id = b.user_id
        left join said on said.user_id = b.user_id and said.grant_id = b.id::text
       where (v_users is null or b.user_id = any (v_users))
    ), queues as (
      select g.user_id,
             array_agg(g.id order by g.nth) as ids,
             array_agg(g.grant_type order by g.nth) as types,
             array_agg(g.tokens_granted order by g.nth) as granted,
             array_agg(g.granted_at order by g.nth) as granted_at,
             array_agg(coalesce(g.expires_at, 'infinity') order by g.nth) as expires_at,
             array_agg(g.tokens_remaining order by g.nth) as stored,
             array_agg(case when g.opened_at is null then null
                            when g.legacy_transaction_id is null then g.tokens_granted - coalesce(g.tokens_opened, 0)
                            else g.tokens_granted end order by g.nth) as at_first,
             array_agg(case when g.opened_at is not null and (g.legacy_transaction_id is null or g.is_counted)
                            then coalesce(g.tokens_opened, 0) end order by g.nth) as opening,
             array_agg(g.tokens_settled order by g.nth) as settled,
             array_agg(g.priority order by g.nth) as priorities,
             case when bool_or(g.pays_for is not null) then array_agg(g.pays_for order by g.nth) end as pays_for,
             array_agg(g.until_at_first order by g.nth) as until,
             array_agg(g.nth order by tokenbook.burn_key(g.priority, g.granted_at, nullif(g.until_at_first, 'infinity'), g.id, true))
               filter (where v_order_since is not null) as by_expiry
        from grants g
       group by g.user_id
    ), old_deductions as (
      select h.user_id, -h.tokens as tokens, h.created_at
        from public.token_legacy_transactions h
       where h.tokens < 0 and h.action_type <> all (c_grants)
         and not exists (select 1 from counted c where c.user_id = h.user_id)
         and (v_users is null or h.user_id = any (v_users))
      union all
      -- a user without old transactions may have a trail of usage
      select u.user_id, u.tokens_used, u.created_at
        from public.token_usage u
        join openings o on o.user_id = u.user_id and u.created_at <= o.created_at
       where u.success and u.tokens_used > 0 and u.action_type <> all (c_grants)
         and not exists (select 1 from counted c where c.user_id = u.user_id)
         and not exists (
           select 1 from public.token_legacy_transactions h
            where h.user_id = u.user_id and h.tokens < 0 and h.action_type <> all (c_grants))
    ), parents as (
      select distinct h.user_id, h.parent_id
        from public.token_holds h
       where h.parent_id is not null
         and (v_users is null or h.user_id = any (v_users))
    ), refunded as (
      select distinct t.user_id, t.original_id
        from ledger t where t.original_id is not null and t.entry_type = 'refund'
    )
    select a.user_id, 0 as stage, null::timestamptz as at, null::bigint as id, 'begin' as kind,
           null::bigint as tokens, null::boolean as is_refunded, null::uuid as hold_id, r.id as original_id,
           q.ids as grant_ids, q.at_first as grant_tokens, q.types, q.granted, q.granted_at, q.expires_at,
           q.stored, q.opening, q.settled, q.priorities, q.until, q.by_expiry, q.pays_for
      from accounts a
      left join queues q on q.user_id = a.user_id
      left join repairs r on r.user_id = a.user_id
    union all
    select d.user_id, 1, d.created_at, null, 'old deduction', d.tokens, null, null, null,
           null, null, null, null, null, null, null, null, null, null, null, null, null
      from old_deductions d
    union all
    select t.user_id, 2, t.created_at, t.id,
           case when t.entry_type = 'deduction' and t.reserved_change <> 0 then 'capture'
                when t.action_type in ('hold_split', 'hold_return') then t.action_type
                when t.entry_type = 'usage' then 'expiry change' else t.entry_type end,
           case when t.terms ? 'move' then (
                  select sum(part::bigint)::bigint from jsonb_array_elements_text(t.terms #> '{move,grant_tokens}') part)
                else greatest(abs(t.tokens), abs(t.reserved_change)) end,
           r.user_id is not null or p.user_id is not null, t.hold_id, t.original_id,
           -- most are deductions, and what they took is only asked for when some of it comes back
           case when t.terms ? 'move' then '{}'
                when t.entry_type = 'usage' then array[(t.terms -> 'expiry' ->> 'grant_id')::uuid]
                when t.entry_type = 'rollover' then (
                  select array[b.rolled_over_from, b.id] from public.token_balances b
                   where b.user_id = t.user_id and b.id = t.grant_ids[1])
                when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_ids end,
           case when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_tokens end,
           null, null, null, null, null, null, null, null,
           case when t.terms ? 'expiry' then array[coalesce((t.terms -> 'expiry' ->> 'after')::timestamptz, 'infinity')] end, null, null
      from ledger t
      left join refunded r on r.user_id = t.user_id and r.original_id = t.id
      left join parents p on p.user_id = t.user_id and t.entry_type = 'hold' and p.parent_id = t.hold_id
     where t.entry_type not in ('restatement', 'expiry', 'void') -- @replay-knows-releases
       and (t.entry_type <> 'usage' or t.terms ? 'expiry' and v_order_since is not null or t.terms ? 'move')
       and (t.entry_type <> 'rollover' or t.tokens > 0) -- the one into the new grant stands for both
    union all
    select a.user_id, 3, null, null, 'end', null, null, null, null,
           null, null, null, null, null, null, null, null, null, null, null, null, null
      from accounts a
    order by 1, 2, 3, 4
  loop
    v_needed := 0;
    v_key := null;

    if v_event.kind = 'begin' then
      v_user_id := v_event.user_id;
    elsif v_event.user_id is distinct from v_user_id then
      continue;
    end if;

    if v_event.id = v_settled_id then -- @repairs-settle
      v_left := v_settled;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'deduction' then
      v_needed := v_event.tokens;
      if v_event.is_refunded then
        v_key := v_event.id;
      end if;

    elsif v_event.kind = 'old deduction' then
      v_needed := v_event.tokens;

    elsif v_event.kind = 'grant' then
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[1]), v_count + 1);
      v_left[v_nth] := v_event.tokens;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'begin' then
      v_ids := v_event.grant_ids;
      v_types := v_event.types;
      v_granted := v_event.granted;
      v_granted_at := v_event.granted_at;
      v_expires_at := v_event.expires_at;
      v_stored := v_event.stored;
      v_opening := v_event.opening;
      v_settled := v_event.settled;
      v_settled_id := v_event.original_id;
      v_left := v_event.grant_tokens;
      v_count := coalesce(cardinality(v_ids), 0);
      v_order := null;
      v_priorities := v_event.priorities;
      v_pays_for := v_event.pays_for;
      v_until := v_event.until;
      v_by_expiry := v_event.by_expiry;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'end' then
      return query
        select v_event.user_id, g.id, g.type, g.granted_at, nullif(g.expires_at, 'infinity'), g.granted,
               now.exact, now.stored, now.stored - now.exact, 0::bigint
          from unnest(v_ids, v_types, v_granted_at, v_expires_at, v_granted, v_left, v_stored)
               as g (id, type, granted_at, expires_at, granted, left_over, stored)
         cross join lateral (
           select case when g.expires_at > p_now then coalesce(g.left_over, 0) else 0 end as exact,
                  case when g.expires_at > p_now then g.stored else 0 end as stored) now
         where g.id is not null;
      if v_uncovered > 0 then
        return query
          select v_event.user_id, null::uuid, null::text, null::timestamptz, null::timestamptz, null::bigint,
                 0::bigint, 0::bigint, 0::bigint, v_uncovered;
      end if;

    elsif v_event.kind = 'opening_balance' then
      for v_nth in 1 .. v_count loop
        v_left[v_nth] := coalesce(v_opening[v_nth], v_left[v_nth]);
      end loop;
      v_head := 1;

    elsif v_event.kind = 'hold' then
      v_needed := v_event.tokens;
      v_key := v_event.hold_id;

    elsif v_event.kind in ('hold_split', 'hold_return') then -- @replay-knows-children
      -- between a hold and its child, of what the replay took for them
      declare
        v_child constant text := v_event.hold_id::text;
        v_parent text;
        v_for text;
        v_rest record;
      begin
        select h.parent_id::text, h.action_type into v_parent, v_for
          from public.token_holds h where h.user_id = v_event.user_id and h.id = v_event.hold_id;
        if v_event.kind = 'hold_split' and v_moved ? v_parent then
          v_part_ids := array(select jsonb_array_elements_text(v_moved -> v_parent -> 'ids')::uuid);
          v_part_tokens := array(select jsonb_array_elements_text(v_moved -> v_parent -> 'tokens')::bigint);
          select t.terms ->> 'model' into v_model_used
            from public.token_transactions t where t.user_id = v_event.user_id and t.id = v_event.id;
          v_rest := tokenbook.split_allocation(v_part_ids, v_part_tokens, array(
            select v_pays_for is null or coalesce(
                     tokenbook.pays_for(v_pays_for[array_position(v_ids, part.id)], v_for, v_model_used), true)
              from unnest(v_part_ids) with ordinality as part (id, nth) order by part.nth), v_event.tokens);
          v_moved := jsonb_set(v_moved, array[v_parent], (v_moved -> v_parent) || jsonb_build_object(
            'of', (v_moved -> v_parent ->> 'of')::bigint - v_event.tokens, 'ids', v_rest.left_ids, 'tokens', v_rest.left_tokens));
          v_part_ids := v_rest.grant_ids;
          v_part_tokens := v_rest.grant_tokens;
          v_key := v_child;
          v_of := v_event.tokens;
        elsif v_event.kind = 'hold_return' and v_moved ? v_child and v_moved ? v_parent then
          v_of := (v_moved -> v_child ->> 'of')::bigint;
          select part.grant_ids, part.grant_tokens into v_part_ids, v_part_tokens
            from tokenbook.slice_allocations(
                   array(select jsonb_array_elements_text(v_moved -> v_child -> 'ids')::uuid),
                   array(select jsonb_array_elements_text(v_moved -> v_child -> 'tokens')::bigint),
                   v_of - v_event.tokens, v_of) as part;
          v_moved := v_moved - v_child;
          v_key := v_parent;
          v_of := v_event.tokens;
        end if;
        if v_key is not null then
          select m.grant_ids, m.grant_tokens into v_part_ids, v_part_tokens
            from tokenbook.merge_allocations(
                   array(select jsonb_array_elements_text(v_moved -> v_key -> 'ids')::uuid),
                   array(select jsonb_array_elements_text(v_moved -> v_key -> 'tokens')::bigint),
                   v_part_ids, v_part_tokens,
                   array(select jsonb_array_elements_text(v_moved -> v_parent -> 'order')::uuid)) as m;
          v_moved := v_moved || jsonb_build_object(v_key, coalesce(v_moved -> v_key, '{}') || jsonb_build_object(
            'of', coalesce((v_moved -> v_key ->> 'of')::bigint, 0) + v_of, 'ids', v_part_ids, 'tokens', v_part_tokens));
          v_key := null;
        end if;
      end;

    elsif v_event.kind = 'expiry change' then -- what it lives by is what was said last, at any moment
      v_nth := array_position(v_ids, v_event.grant_ids[1]);
      v_until[v_nth] := v_event.until[1]; -- @replay-knows-expiries
      v_by_expiry := tokenbook.places_by_expiry(v_ids, v_priorities, v_granted_at, v_until);
      if v_order is not null then
        v_order := v_by_expiry;
        v_head := 1;
      end if;

    elsif v_event.kind in ('clawback', 'debt_repayment') then
      v_needed := v_event.tokens;
      for v_place in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := coalesce(array_position(v_ids, v_event.grant_ids[v_place]), v_count + 1);
        v_part := least(coalesce(v_left[v_nth], 0), v_event.grant_tokens[v_place]);
        v_left[v_nth] := v_left[v_nth] - v_part;
        v_needed := v_needed - v_part;
      end loop;

    elsif v_event.kind = 'rollover' then
      -- out of the grant that closed, as far as it has it
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[1]), v_count + 1);
      v_part := least(coalesce(v_left[v_nth], 0), v_event.tokens);
      v_left[v_nth] := v_left[v_nth] - v_part;
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[2]), v_count + 1);
      v_left[v_nth] := v_part;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'capture' then
      v_key := v_event.hold_id;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        if v_event.is_refunded then
          v_moved := jsonb_set(v_moved, array[v_event.id::text],
                               (v_moved -> v_key) || jsonb_build_object('of', v_event.tokens));
        end if;
        if v_event.tokens = v_of then
          v_moved := v_moved - v_key;
        end if;
      end if;
      v_key := null;

    else -- release, refund, restoration: back to where it was taken from
      v_key := case v_event.kind when 'release' then v_event.hold_id::text when 'refund' then v_event.original_id::text end;
      v_part_ids := v_event.grant_ids;
      v_part_tokens := v_event.grant_tokens;
      v_homeless := 0;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        -- what had repaid an overdraft goes back to where the ledger says
        select coalesce(array_agg(r.grant_id order by r.nth), '{}'), coalesce(array_agg(r.tokens order by r.nth), '{}'),
               v_event.tokens - coalesce(sum(r.tokens), 0)
          into v_repaid_ids, v_repaid_tokens, v_needed
          from public.token_transactions t
         cross join lateral unnest(
           array(select jsonb_array_elements_text(t.terms -> 'repaid' -> 'grant_ids')::uuid),
           array(select jsonb_array_elements_text(t.terms -> 'repaid' -> 'grant_tokens')::bigint))
           with ordinality as r (grant_id, tokens, nth)
         where t.user_id = v_event.user_id and t.id = v_event.id and v_event.kind = 'refund' and t.terms ? 'repaid';
        select part.grant_ids || v_repaid_ids, part.grant_tokens || v_repaid_tokens into v_part_ids, v_part_tokens
          from tokenbook.slice_allocations(
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'ids')::uuid),
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'tokens')::bigint),
                 v_of - v_needed, v_of) as part;
        v_moved := case when v_event.kind = 'release' or v_of = v_needed then v_moved - v_key
                        else jsonb_set(v_moved, array[v_key, 'of'], to_jsonb(v_of - v_needed)) end;
        v_needed := 0;
        for v_place in 1 .. cardinality(v_part_ids) loop
          v_nth := coalesce(array_position(v_ids, v_part_ids[v_place]), v_count + 1);
          if v_expires_at[v_nth] <= v_event.at then
            v_homeless := v_homeless + v_part_tokens[v_place];
          end if;
        end loop;
        -- what this refund reissued instead of forfeiting, as far as the replay has it to give back, be it
        -- nothing: whatever names that grant later gives it nothing new
        for v_place in 1 .. cardinality(v_event.grant_ids) loop
          v_nth := coalesce(array_position(v_ids, v_event.grant_ids[v_place]), v_count + 1);
          if v_event.kind = 'refund' and v_left[v_nth] is null then -- @reissued-be-it-nothing
            v_left[v_nth] := least(v_homeless, v_event.grant_tokens[v_place]);
            v_homeless := v_homeless - v_left[v_nth];
            v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));
          end if;
        end loop;
      end if;
      for v_place in 1 .. cardinality(v_part_ids) loop
        v_nth := coalesce(array_position(v_ids, v_part_ids[v_place]), v_count + 1);
        v_left[v_nth] := least(coalesce(v_left[v_nth], 0) + v_part_tokens[v_place], v_granted[v_nth]);
        v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));
      end loop;
      v_key := null;
    end if;

    if v_needed > 0 then
      if v_event.stage = 2 and v_order_since is not null
        and coalesce(v_order_names[width_bucket(v_event.at, v_order_since)] = 'expiring_first', false) <> (v_order is not null)
      then
        v_order := case when v_order is null then v_by_expiry end;
        v_head := 1;
      end if;
      if v_pays_for is not null then -- what it was for, and of no use: anything
        v_action_type := null;
        v_model_used := null;
        if v_event.kind in ('deduction', 'hold') then
          select nullif(t.action_type, 'admin_deduct'), t.terms ->> 'model' into v_action_type, v_model_used
            from public.token_transactions t where t.user_id = v_event.user_id and t.id = v_event.id;
        end if;
      end if;
      v_part_ids := '{}';
      v_part_tokens := '{}';
      v_place := v_head;
      while v_needed > 0 and v_place <= v_count loop
        v_nth := coalesce(v_order[v_place], v_place);
        if v_left[v_nth] > 0 and v_expires_at[v_nth] > v_event.at then -- @expired-pays-nothing
          if (v_event.stage = 2 or v_granted_at[v_nth] <= v_event.at) -- @granted-before-it-pays
            and (v_pays_for is null or tokenbook.pays_for(v_pays_for[v_nth], v_action_type, v_model_used)) -- @replay-knows-what-pays
          then
            v_part := least(v_left[v_nth], v_needed);
            v_left[v_nth] := v_left[v_nth] - v_part;
            v_needed := v_needed - v_part;
            if v_key is not null then
              v_part_ids := v_part_ids || v_ids[v_nth];
              v_part_tokens := v_part_tokens || v_part;
            end if;
          end if;
        elsif v_place = v_head then
          v_head := v_head + 1;
        end if;
        v_place := v_place + 1;
      end loop;
      v_uncovered := v_uncovered + v_needed;
      if v_key is not null
        -- of a parent always: its children are of what the replay took
        and ((v_part_ids, v_part_tokens) is distinct from (v_event.grant_ids, v_event.grant_tokens) or v_event.kind = 'hold' and v_event.is_refunded) -- @returned-where-taken
      then
        v_moved := coalesce(v_moved, '{}') || jsonb_build_object(v_key, jsonb_build_object(
          'of', v_event.tokens, 'ids', v_part_ids, 'tokens', v_part_tokens, 'order', v_part_ids));
      end if;
    end if;
  end loop;
end
$$;
comment on function tokenbook.replay is
  'What each grant would have at p_now if all deductions had been spread over the grants exactly, beside what it has; and what found no grant to pay it.';
