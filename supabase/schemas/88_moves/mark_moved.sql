/*
 * The third step of a move, here where the books were: they are whole in the other project (p_proof, as it was compared
 * there), and from this commit on are there alone (account_moved). Asks once more whether anything has changed since.
 * The rows stay as they are. What is deferred of these users' sales is taken out of what was sold here today, because
 * tokenbook.open_arrival puts it into what was sold there: it is counted once over both.
 * Caller: tokenbook move.   Locks: the accounts.   Errors: invalid_move.   Returns false where it was marked already.
 */
create function tokenbook.mark_moved(p_move_id uuid, p_proof jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := tokenbook.people_of_move(p_move_id, 'out');
  v_phase text;
  v_now jsonb;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- lock
  perform tokenbook.lock_accounts(v_user_ids, p_away_too => true);
  perform 1 from public.token_accounts a where a.user_id = any (v_user_ids) order by a.user_id for update;

  -- replay
  select min(m.phase) into v_phase from tokenbook.moves m where m.id = p_move_id and m.direction = 'out';
  if v_phase = 'moved' then
    return false;
  elsif v_phase is distinct from 'moving'
    or exists (select 1 from public.token_accounts a where a.user_id = any (v_user_ids) and a.state <> 'moving') -- @still-on-the-way
  then
    perform tokenbook.refuse('invalid_move', '{"rule": "a move that is under way"}');
  end if;

  -- act
  v_now := tokenbook.prove_books(v_user_ids, p_with_ledger => false);
  if v_now -> 'sums' is distinct from p_proof -> 'sums' -- @unchanged-since-the-copy begin
    or exists (
      select 1 from jsonb_each(v_now -> 'tables') t
       where t.value ->> 'rows' is distinct from p_proof -> 'tables' -> t.key ->> 'rows'
          or t.value ->> 'digest' <> p_proof -> 'tables' -> t.key ->> 'digest')
  then
    perform tokenbook.refuse('invalid_move', '{"rule": "books that nobody has changed since they were copied"}');
  end if; -- @unchanged-since-the-copy end

  -- record
  update public.token_accounts a set state = 'moved' where a.user_id = any (v_user_ids);
  v_at := clock_timestamp();
  update tokenbook.moves m
     set phase = 'moved', proof = p_proof, settled_at = v_at
   where m.id = p_move_id and m.direction = 'out';
  perform tokenbook.move_deferred(v_user_ids, -1);
  return true;
end
$$;
comment on function tokenbook.mark_moved is
  'The third step of a move: from then on the books of these users are in the other project alone. For tokenbook move.';

-- Who is moved together; NULL: there is no such move.   Caller: internal, tokenbook move.
create function tokenbook.people_of_move(p_move_id uuid, p_direction text)
returns uuid[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select array_agg(m.user_id order by m.user_id) from tokenbook.moves m where m.id = p_move_id and m.direction = p_direction);
end
$$;
comment on function tokenbook.people_of_move is 'Who is moved together by that move, out of this project or into it.';

/*
 * What is deferred of these users' sales leaves what was sold today (p_sign -1) or comes to it (1), by currency.
 * Caller: mark_moved, open_arrival.
 */
create function tokenbook.move_deferred(p_user_ids uuid[], p_sign integer)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where days begin
as $$
declare
  v_today constant timestamptz := date_trunc('day', clock_timestamp());
begin
  insert into tokenbook.revenue_totals as n (starts_at, currency, sold_cents, refunded_cents, recognised_cents, breakage_cents)
  select v_today, s.currency, p_sign * sum(s.sold_cents - s.refunded_cents - s.recognised_cents - s.breakage_cents), 0, 0, 0 -- @deferred-once
    from tokenbook.sales s
   where s.user_id = any (p_user_ids) and s.currency is not null
   group by s.currency
  on conflict on constraint revenue_totals_pkey do update set sold_cents = n.sold_cents + excluded.sold_cents;
end
$$;
comment on function tokenbook.move_deferred is
  'Takes what is deferred of these users'' sales out of what was sold today (-1), or puts it there (1).';
