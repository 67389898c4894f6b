/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less.
 * A deduction takes what this says, a quote and the balance show it; the order itself is in burn_order.sql.
 * With p_count_due what holds that have run out will give back counts as if it were back, for who
 * only looks; a deduction books it first.
 * Caller: internal.   Keeps: I7, I8.
 */
create function tokenbook.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  p_count_due boolean default false,
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
  v_expiring_first boolean := (select r.is_expiring_first from tokenbook.project_settings r);
  v_grants refcursor;
  v_id uuid;
  v_remaining bigint;
begin
  if v_expiring_first is null then
    v_expiring_first := tokenbook.is_expiring_first_at('infinity'); -- the settings are not there
  end if;
  grant_ids := '{}';
  grant_tokens := '{}';
  if p_count_due then
    open v_grants for
      select b.id, b.tokens_remaining + coalesce(back.tokens, 0)
        from public.token_balances b
        left join (
          select part.grant_id, sum(part.tokens)::bigint as tokens
            from public.token_holds h
           cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
           where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
           group by part.grant_id) back on back.grant_id = b.id
       where b.user_id = p_user_id and (b.is_open or back.tokens > 0) and (b.expires_at > p_now or b.expires_at is null)
       order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, v_expiring_first);
  else
    open v_grants for
      select g.id, g.tokens_remaining from tokenbook.open_grants_in_order(p_user_id, p_now, v_expiring_first) g;
  end if;
  loop
    exit when v_needed <= 0 or cardinality(grant_ids) >= p_limit;
    fetch v_grants into v_id, v_remaining;
    exit when not found;
    grant_ids := grant_ids || v_id;
    grant_tokens := grant_tokens || least(v_remaining, v_needed);
    v_needed := v_needed - v_remaining;
  end loop;
  close v_grants;
end
$$;
comment on function tokenbook.choose_grants is
  'Which grants would pay for that many tokens now, and how much each, in burn order; at most p_limit grants; with p_count_due what holds that have run out give back counts too.';
