/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less.
 * The one place that knows the order: a deduction takes what this says, a quote and the balance
 * show it. fifo: priority, granted_at, id. expiring_first: priority, expires_at (never last),
 * granted_at, id.
 * Caller: internal.   Keeps: I7, I8.
 */
create or replace function private.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_expiring_first boolean := coalesce(
    (select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false);
  v_grants refcursor;
  v_id uuid;
  v_remaining bigint;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  if v_expiring_first then
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.expires_at, b.granted_at, b.id;
  else
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.granted_at, b.id;
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
comment on function private.choose_grants(uuid, bigint, timestamptz, integer) is
  'Which grants would pay for that many tokens now, and how much each, in burn order; at most p_limit grants.';
revoke all on function private.choose_grants(uuid, bigint, timestamptz, integer) from public, anon, authenticated, service_role;
