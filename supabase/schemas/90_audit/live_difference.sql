/*
 * What is left today of what the books have too much of (negative: too little). A difference runs out with the
 * grant that it sits in, and moves on when that grant is spent. So what has happened since the first of them is
 * gone through once more, as it would have been without them: every deduction from what was first then, in the
 * burn order of that moment. What the books have now, less what they would have, is the answer.
 *
 * An admin's grant or deduction that makes what is off at that moment smaller is a repair of it, as far as it does:
 * it moves the books towards the records, and is no grant and no deduction of its own. One whose reason begins with
 * `goodwill` never is. `repaired` is what was repaired without closing it, `settled_id` the last entry that closed it,
 * which settles whatever was before it.
 *
 * p_differences: [{at, tokens, grant_id}]. What sits in a grant counts there first. Without one, too much is use
 * that what was next in burn order would have paid for, or else the first that came in; too little is a grant
 * that was never booked, which stays what it is.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.live_difference(
  p_user_id uuid,
  p_differences jsonb,
  p_now timestamptz,
  out off bigint,
  out repaired bigint,
  out settled_id bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz := (select min((d ->> 'at')::timestamptz) from jsonb_array_elements(p_differences) d);
  -- the user's grants, each at its place first in, first out
  v_ids uuid[];
  v_granted bigint[];
  v_ends timestamptz[]; -- 'infinity': never
  v_by_expiry integer[]; -- the places in the other order
  v_priorities smallint[];
  v_granted_at timestamptz[];
  v_until timestamptz[]; -- when each would run out as was said last; 'infinity': never
  v_left bigint[]; -- what each would have
  v_has bigint[]; -- what each has in the books
  v_uncovered bigint := 0; -- what no grant would have paid for
  v_head integer := 1; -- what comes before it has nothing left
  v_was_expiring_first boolean;
  v_event record;
  v_needed bigint;
  v_repair bigint;
  v_part bigint;
  v_nth integer;
  v_place integer;
begin
  select array_agg(g.id order by g.nth), array_agg(g.tokens_granted order by g.nth),
         array_agg(coalesce(g.expires_at, 'infinity') order by g.nth),
         array_agg(g.priority order by g.nth), array_agg(g.granted_at order by g.nth),
         array_agg(coalesce(said.before, g.until_at_last, 'infinity') order by g.nth),
         array_agg(coalesce(booked.tokens, 0) order by g.nth)
    into v_ids, v_granted, v_ends, v_priorities, v_granted_at, v_until, v_left
    from (
      select b.*, tokenbook.expiry_as_granted(row(b.*)::public.token_balances) as until_at_last, (row_number() over (
               order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)))::integer as nth
        from public.token_balances b
       where b.user_id = p_user_id) g
    left join (
      select part.grant_id, sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       where t.user_id = p_user_id and t.created_at <= v_since and t.tokens <> t.reserved_change -- a capture spends what the hold had taken
       group by part.grant_id) booked on booked.grant_id = g.id
    left join (
      select distinct on (t.terms -> 'expiry' ->> 'grant_id') t.terms -> 'expiry' ->> 'grant_id' as grant_id,
             coalesce((t.terms -> 'expiry' ->> 'before')::timestamptz, 'infinity') as before
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at > v_since and t.terms ? 'expiry'
       order by t.terms -> 'expiry' ->> 'grant_id', t.id) said on said.grant_id = g.id::text;
  v_by_expiry := tokenbook.places_by_expiry(v_ids, v_priorities, v_granted_at, v_until);
  v_has := v_left;
  repaired := 0;

  for v_event in
    select e.*, tokenbook.is_expiring_first_at(e.at) as is_expiring_first, b.rolled_over_from -- @order-then-in-force
      from (
        select t.created_at as at, t.id, t.entry_type as kind, t.tokens - t.reserved_change as tokens,
               t.grant_ids, t.grant_tokens, t.terms -> 'expiry' as expiry,
               t.entry_type in ('grant', 'deduction') and t.action_type in ('admin_grant', 'admin_deduct')
                 and (t.reason ~* '^[[:space:]]*goodwill') is not true as is_correction -- @corrections-are-repairs
          from public.token_transactions t
         where t.user_id = p_user_id and t.created_at > v_since and (t.tokens <> t.reserved_change or t.terms ? 'expiry')
           and t.entry_type not in ('expiry', 'void') -- whose grants have run out here too
        union all
        select (d ->> 'at')::timestamptz, null, 'difference', -(d ->> 'tokens')::bigint,
               array_remove(array[(d ->> 'grant_id')::uuid], null), array[abs((d ->> 'tokens')::bigint)], null, false
          from jsonb_array_elements(p_differences) d) e
      left join public.token_balances b
        on e.kind = 'rollover' and e.tokens > 0 and b.user_id = p_user_id and b.id = e.grant_ids[1]
     order by e.at, e.id -- a difference comes after the entry that it is of
  loop
    if v_event.expiry is not null then
      v_until[array_position(v_ids, (v_event.expiry ->> 'grant_id')::uuid)] :=
        coalesce((v_event.expiry ->> 'after')::timestamptz, 'infinity');
      v_by_expiry := tokenbook.places_by_expiry(v_ids, v_priorities, v_granted_at, v_until);
      v_head := 1;
      continue;
    end if;
    v_needed := 0;
    v_repair := 0;
    if v_event.is_correction then
      select v_uncovered + coalesce(sum(g.has - g.tokens), 0) into off
        from unnest(v_has, v_left, v_ends) as g (has, tokens, ends) where g.ends > v_event.at;
      v_repair := case when sign(off) = -sign(v_event.tokens) then least(abs(off), abs(v_event.tokens)) else 0 end;
    end if;
    if v_event.kind <> 'difference' then
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_has[v_nth] := v_has[v_nth] + sign(v_event.tokens) * v_event.grant_tokens[i];
      end loop;
    end if;

    if v_repair > 0 and v_repair = abs(off) then
      v_left := v_has;
      v_uncovered := 0;
      v_head := 1;
      settled_id := v_event.id;
      repaired := 0;

    elsif v_repair > 0 then
      -- what is off is off by less, grant by grant, and then what no grant was there for
      repaired := repaired + sign(v_event.tokens) * v_repair;
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_left[v_nth] := v_left[v_nth] + sign(v_event.tokens) * v_event.grant_tokens[i];
      end loop;
      for i in 1 .. cardinality(v_ids) loop
        v_part := least(greatest(sign(off) * (v_has[i] - v_left[i]), 0), v_repair);
        v_left[i] := v_left[i] + sign(off) * v_part;
        v_repair := v_repair - v_part;
        v_needed := v_needed + greatest(-v_left[i], 0);
        v_left[i] := greatest(v_left[i], 0);
      end loop;
      v_uncovered := v_uncovered - sign(off) * v_repair;
      v_head := 1;

    elsif v_event.kind = 'rollover' then
      -- out of the grant that closed, as far as it has it; the entry into the new one stands for both
      continue when v_event.tokens < 0;
      v_place := array_position(v_ids, v_event.rolled_over_from);
      v_nth := array_position(v_ids, v_event.grant_ids[1]);
      v_part := least(v_left[v_place], v_event.tokens);
      v_left[v_place] := v_left[v_place] - v_part;
      v_left[v_nth] := v_left[v_nth] + v_part;
      v_head := 1;

    elsif v_event.tokens < 0 then
      v_needed := -v_event.tokens;
      if v_event.kind not in ('deduction', 'hold') then
        for i in 1 .. cardinality(v_event.grant_ids) loop
          v_nth := array_position(v_ids, v_event.grant_ids[i]);
          v_part := least(v_left[v_nth], v_event.grant_tokens[i]);
          v_left[v_nth] := v_left[v_nth] - v_part;
          v_needed := v_needed - v_part;
        end loop;
      end if;

    else
      v_uncovered := v_uncovered - v_event.tokens;
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_part := least(v_event.grant_tokens[i], v_granted[v_nth] - v_left[v_nth]);
        v_left[v_nth] := v_left[v_nth] + v_part;
        v_uncovered := v_uncovered + v_part;
      end loop;
      v_head := 1;
      v_needed := greatest(v_uncovered, 0);
      v_uncovered := v_uncovered - v_needed;
    end if;

    if v_needed > 0 then
      if v_event.is_expiring_first is distinct from v_was_expiring_first then
        v_was_expiring_first := v_event.is_expiring_first;
        v_head := 1;
      end if;
      v_place := v_head;
      while v_needed > 0 and v_place <= coalesce(cardinality(v_ids), 0) loop
        v_nth := case when v_event.is_expiring_first then v_by_expiry[v_place] else v_place end;
        if v_left[v_nth] > 0 and v_ends[v_nth] > v_event.at then
          v_part := least(v_left[v_nth], v_needed);
          v_left[v_nth] := v_left[v_nth] - v_part;
          v_needed := v_needed - v_part;
        elsif v_place = v_head then
          v_head := v_head + 1;
        end if;
        v_place := v_place + 1;
      end loop;
      v_uncovered := v_uncovered + v_needed;
    end if;
  end loop;

  select v_uncovered + coalesce(sum(g.has - g.tokens), 0) into off
    from unnest(v_has, v_left, v_ends) as g (has, tokens, ends) where g.ends > p_now;
end
$$;
comment on function tokenbook.live_difference is
  'Of differences between books and trail, what has neither run out with its grant nor been repaired: what the books have less what they would have without them; and which entry repaired them.';
