/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less. p_tokens
 * NULL is as many as there are; p_skip leaves out that many tokens at the front, whatever they
 * pay for.
 * A deduction takes what this says, a quote and the balance show it; the order itself is in burn_order.sql.
 * p_count_due is for callers that only read: what expired holds will give back counts as given back, and what the
 * account is due by its plan's schedule, or by a grant to come, counts as given; a deduction books both first.
 * p_action_type and p_model_used say what for: grants that do not pay for that are passed over (tokenbook.pays_for; an
 * account has few of those). Without an action it is for everything.
 * Reads no more open grants than it chooses or passes over (I11), and all of those holds and slots.
 * Caller: internal.   Keeps: I7, I8, I11.
 */
create function tokenbook.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  p_count_due boolean default false,
  p_skip bigint default 0,
  p_action_type text default null,
  p_model_used text default null,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_needed bigint := p_tokens;
  v_skip bigint := p_skip;
  v_expiring_first boolean := (select r.is_expiring_first from tokenbook.project_settings r);
  v_grants refcursor;
  v_open record; -- the next of the open grants, once it is fetched
  v_is_fetched boolean := false;
  v_back_ids uuid[] := '{}'; -- what holds give back to, and what is due, in burn order too
  v_back_tokens bigint[];
  v_back_pays boolean[];
  v_back_keys tokenbook.burn_position[];
  v_nth integer := 1; -- the next of those
  v_is_open boolean;
  v_id uuid;
  v_tokens bigint;
  v_pays boolean; -- for this
  v_skipped bigint;
begin
  if v_expiring_first is null then
    v_expiring_first := tokenbook.is_expiring_first_at('infinity'); -- the settings are not there
  end if;
  grant_ids := '{}';
  grant_tokens := '{}';
  if p_count_due then
    select coalesce(array_agg(back.id order by back.place), '{}'), array_agg(back.tokens order by back.place),
           array_agg(back.place order by back.place), array_agg(back.pays order by back.place)
      into v_back_ids, v_back_tokens, v_back_keys, v_back_pays
      from (
        select b.id, sum(part.tokens)::bigint as tokens,
               tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, v_expiring_first) as place,
               tokenbook.pays_for(b.pays_for, p_action_type, p_model_used) as pays
          from public.token_holds h
         cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
         cross join lateral ( -- each by its key, however many the user has had
            select g.* from public.token_balances g where g.user_id = p_user_id and g.id = part.grant_id offset 0) b
         where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
           and (h.parent_id is null or not tokenbook.is_parent_open(h.user_id, h.parent_id, p_now))
           and (b.expires_at > p_now or b.expires_at is null)
         group by b.id, b.priority, b.granted_at, b.expires_at, b.pays_for
        union all
        select d.id, d.tokens_remaining,
               tokenbook.burn_key(d.priority, d.granted_at, d.expires_at, d.id, v_expiring_first),
               tokenbook.pays_for(d.pays_for, p_action_type, p_model_used)
          from tokenbook.due_grants(p_user_id, p_now) d) back;
  end if;

  open v_grants for select g.* from tokenbook.open_grants_in_order(p_user_id, p_now, v_expiring_first) g;
  loop
    exit when v_needed <= 0 or cardinality(grant_ids) >= p_limit;
    if not v_is_fetched then
      fetch v_grants into v_open;
      v_is_fetched := true;
    end if;
    v_is_open := v_open.id is not null
      and (v_nth > cardinality(v_back_ids)
        or tokenbook.burn_key(v_open.priority, v_open.granted_at, v_open.expires_at, v_open.id, v_expiring_first)
           <= v_back_keys[v_nth]);
    exit when not v_is_open and v_nth > cardinality(v_back_ids);
    v_tokens := 0;
    if v_is_open then
      v_id := v_open.id;
      v_tokens := v_open.tokens_remaining;
      v_pays := tokenbook.pays_for(v_open.pays_for, p_action_type, p_model_used); -- @passes-over-the-restricted
      v_is_fetched := false;
    end if;
    if v_nth <= cardinality(v_back_ids) and (not v_is_open or v_id = v_back_ids[v_nth]) then
      v_id := v_back_ids[v_nth];
      v_tokens := v_tokens + v_back_tokens[v_nth];
      v_pays := v_back_pays[v_nth];
      v_nth := v_nth + 1;
    end if;
    v_skipped := least(v_tokens, v_skip); -- @skips-before-passing-over
    v_skip := v_skip - v_skipped;
    v_tokens := least(v_tokens - v_skipped, v_needed);
    if v_pays and v_tokens > 0 then
      v_needed := v_needed - v_tokens;
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || v_tokens;
    end if;
  end loop;
  close v_grants;
end
$$;
comment on function tokenbook.choose_grants is
  'Which grants would pay for that many tokens now, after the first p_skip, and how much each, in burn order; at most p_limit grants; with p_count_due what holds that have run out give back, and what the plan''s schedule and grants to come give, counts too; with p_action_type only of those that pay for it.';
