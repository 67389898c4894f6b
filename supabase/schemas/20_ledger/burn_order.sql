/*
 * The order in which grants are spent: the one place that says it. Everything else calls what is here.
 *
 *   fifo            priority, granted_at, id
 *   expiring_first  priority, expires_at (never last), granted_at, id
 *
 * It is said twice, because Postgres needs it in two forms: as two indexes and what reads them
 * (open_grants_…), and as a key for rows that no index holds (burn_key). A change of the order is a
 * change of this file, of tests/support/burn-order.ts, which says it once more so that a test can tell, and
 * of the known-bad variant ties-by-chance.
 *
 * Which of the two a project has chosen, and since when, is in tokenbook.burn_orders; what holds now is also
 * in tokenbook.project_settings, in the one row that every touch of an account reads.
 */
create index token_balances_burn_order_idx
  on public.token_balances (user_id, priority, granted_at, id) where is_open;
create index token_balances_expiring_first_idx
  on public.token_balances (user_id, priority, expires_at, granted_at, id) where is_open;

/*
 * A user's grants that can be spent at p_now, in that order, from its index: a caller that takes the first one, or some,
 * reads no more than that. A caller that sorts or joins the rows must order them again. grant_ctid is the row's
 * place in the table, for a caller that changes it in the same statement.
 * These have no search_path of their own, so that Postgres inlines them into the calling statement (decision
 * 22); their callers have set theirs, and no client may call them.
 * Caller: internal.   Keeps: I7, I8.
 */
create function tokenbook.open_grants_fifo(p_user_id uuid, p_now timestamptz)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz, pays_for jsonb
)
language sql
stable
security invoker
as $$
  select b.ctid, b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at, b.pays_for
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
   order by b.priority, b.granted_at, b.id -- @oldest-first
$$;
comment on function tokenbook.open_grants_fifo is
  'A user''s grants that can be spent at p_now, first in, first out, from its index.';

-- The first of them, as its row's place in the table, for a caller that changes it in the same statement.
create function tokenbook.oldest_open_grant(p_user_id uuid, p_now timestamptz)
returns table (grant_ctid tid)
language sql
stable
security invoker
as $$
  select b.ctid
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
   order by b.priority, b.granted_at, b.id -- @oldest-is-first
   limit 1
$$;
comment on function tokenbook.oldest_open_grant is
  'Where a user''s oldest grant that can be spent at p_now is, from its index.';

create function tokenbook.open_grants_expiring_first(p_user_id uuid, p_now timestamptz)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz, pays_for jsonb
)
language sql
stable
security invoker
as $$
  select b.ctid, b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at, b.pays_for
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
   order by b.priority, b.expires_at, b.granted_at, b.id -- @soonest-first
$$;
comment on function tokenbook.open_grants_expiring_first is
  'A user''s grants that can be spent at p_now, what expires first before the rest, from its index.';

-- The same in the order that the caller says. A caller with a fixed order calls the function of that order: that is quicker.
create function tokenbook.open_grants_in_order(p_user_id uuid, p_now timestamptz, p_expiring_first boolean)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz, pays_for jsonb
)
language sql
stable
security invoker
as $$
  select f.* from tokenbook.open_grants_fifo(p_user_id, p_now) f where not p_expiring_first
  union all
  select e.* from tokenbook.open_grants_expiring_first(p_user_id, p_now) e where p_expiring_first
$$;
comment on function tokenbook.open_grants_in_order is
  'A user''s grants that can be spent at p_now, in burn order, from its index.';

create type tokenbook.burn_position as (priority smallint, expires_at timestamptz, granted_at timestamptz, id uuid);
comment on type tokenbook.burn_position is 'A grant''s place in the burn order: what comes first is spent first.';

/*
 * A grant's place in that order, to sort by: order by tokenbook.burn_key(…). Without a search_path, as above.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.burn_key(
  p_priority smallint,
  p_granted_at timestamptz,
  p_expires_at timestamptz,
  p_id uuid,
  p_expiring_first boolean
)
returns tokenbook.burn_position
language sql
immutable
security invoker
as $$
  select row(p_priority, case when p_expiring_first then coalesce(p_expires_at, 'infinity') end, p_granted_at, p_id)::tokenbook.burn_position
$$;
comment on function tokenbook.burn_key is
  'A grant''s place in the burn order, to sort by.';

/*
 * Whether grants were spent by expiring_first at that moment. Before the first choice, and before the books,
 * it was fifo.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.is_expiring_first_at(p_at timestamptz)
returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select o.burn_order = 'expiring_first' from tokenbook.burn_orders o where o.since <= p_at order by o.since desc limit 1), false)
$$;
comment on function tokenbook.is_expiring_first_at is
  'Whether grants were spent by expiring_first, not fifo, at that moment.';
