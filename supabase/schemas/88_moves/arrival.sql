/*
 * The second step of a move, there where the books come to, in three parts: begin_arrival, the copy itself, by
 * tokenbook move, and end_arrival, all in one transaction: a move that is stopped in the middle leaves nothing.
 * Nobody who has books here is moved here (require_room), but who was moved from here and comes back: their rows from before
 * are taken away first, because what comes is those and more (require_continuation).
 * p_former is {user_id: the state of the account}, of everybody who is moved together.
 * Caller: tokenbook move.   Errors: invalid_move, busy.
 * Returns the phase of that move: arriving, and the copy is to be made; or, where it was made, as `made`, that or arrived.
 */
create function tokenbook.begin_arrival(p_move_id uuid, p_former jsonb, p_place text, out phase text, out made boolean)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := array(select k::uuid from jsonb_object_keys(p_former) k order by k);
  v_before text[];
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.lock_accounts(v_user_ids, p_away_too => true);
  select min(m.phase) into phase from tokenbook.moves m where m.id = p_move_id and m.direction = 'in';
  made := phase is not null;
  if phase = 'discarded' then
    perform tokenbook.refuse('invalid_move', '{"rule": "a move that was not taken back"}');
  elsif made then
    return;
  end if;
  v_before := tokenbook.require_room(v_user_ids);
  perform tokenbook.discard_books(v_user_ids);
  perform set_config('tokenbook.books_before', to_jsonb(v_before)::text, true);
  v_at := clock_timestamp();
  update tokenbook.moves m -- a copy that was to be taken away, and was overwritten
     set phase = 'discarded', settled_at = v_at
   where m.user_id = any (v_user_ids) and m.direction = 'in' and m.phase = 'arriving';
  insert into tokenbook.moves (user_id, id, direction, phase, place, former_state)
  select f.key::uuid, p_move_id, 'in', 'arriving', p_place, f.value from jsonb_each_text(p_former) f;
  phase := 'arriving';
end
$$;
comment on function tokenbook.begin_arrival is
  'Makes room for the books of users who are moved here. For tokenbook move, in the transaction of the copy.';

/*
 * The copy is made: it is compared with the proof from where it comes, table by table and entry by entry, and verified as
 * any books are; then it waits (state arriving) until the other project says that it has let go.
 * Caller: tokenbook move, in the transaction of the copy.   Errors: invalid_move, naming what differs.   Returns the proof, as found here.
 */
create function tokenbook.end_arrival(p_move_id uuid, p_proof jsonb)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := tokenbook.people_of_move(p_move_id, 'in');
  v_found constant jsonb := tokenbook.prove_books(v_user_ids);
  v_rule text;
begin
  update public.token_accounts a set state = 'arriving', alerts_version = null where a.user_id = any (v_user_ids); -- @arrives-closed
  select 'the same at both ends, and not so ' || string_agg(d.part, ', ') into v_rule -- @compared-whole begin
    from (
      select coalesce(t.key, f.key) as part
        from jsonb_each(p_proof -> 'tables') t
        full join jsonb_each(v_found -> 'tables') f on f.key = t.key
       where t.value is distinct from f.value
      union all
      select k from unnest(array['sums', 'ledger', 'keys']) k where p_proof -> k is distinct from v_found -> k) d; -- @compared-whole end
  if v_rule is null then -- @verified-on-arrival
    select 'right, and not so: ' || string_agg(f.breach, ', ') into v_rule
      from (
        select distinct b.invariant || ' of ' || b.user_id as breach
          from unnest(v_user_ids) as u (id) cross join lateral tokenbook.find_breaches(u.id, null, null) b
         limit 20) f;
  end if;
  if v_rule is not null then
    perform tokenbook.refuse('invalid_move', jsonb_build_object('rule', v_rule));
  end if;
  perform tokenbook.require_continuation(
    array(select jsonb_array_elements_text(current_setting('tokenbook.books_before')::jsonb)));
  update tokenbook.moves m set proof = v_found where m.id = p_move_id and m.direction = 'in';
  return v_found;
end
$$;
comment on function tokenbook.end_arrival is
  'Compares the copied books with the proof from where they come, verifies them, and keeps them closed. For tokenbook move.';

/*
 * The last step of a move, there where the books are now: they are in use. The other project has let go of them before
 * (tokenbook.mark_moved), or a token could be spent in both.
 * Caller: tokenbook move.   Locks: the accounts.   Errors: invalid_move.   Returns false where they were in use already.
 */
create function tokenbook.open_arrival(p_move_id uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := tokenbook.people_of_move(p_move_id, 'in');
  v_phase text;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.lock_accounts(v_user_ids, p_away_too => true);
  select min(m.phase) into v_phase from tokenbook.moves m where m.id = p_move_id and m.direction = 'in';
  if v_phase = 'arrived' then
    return false;
  elsif v_phase is distinct from 'arriving' then
    perform tokenbook.refuse('invalid_move', '{"rule": "a move that is under way"}');
  end if;
  v_at := clock_timestamp();
  update public.token_accounts a
     set state = m.former_state, next_due_at = v_at, alerts_version = -1, updated_at = v_at -- @looked-at-again
    from tokenbook.moves m
   where m.id = p_move_id and m.direction = 'in' and a.user_id = m.user_id and a.state = 'arriving';
  update tokenbook.moves m
     set phase = 'arrived', settled_at = v_at
   where m.id = p_move_id and m.direction = 'in';
  perform tokenbook.move_deferred(v_user_ids, 1);
  return true;
end
$$;
comment on function tokenbook.open_arrival is
  'The last step of a move: the books of these users are in use in this project. For tokenbook move.';

/*
 * Takes away what a move brought here, as long as it is closed: for a move that is taken back. Who was here before stays
 * here, moved: or this project would know nothing of users of whom it has said where they are, and begin books for them anew.
 * Caller: tokenbook move --cancel.   Locks: the accounts.   Errors: invalid_move: they are in use.   Returns false where there is nothing of it.
 */
create function tokenbook.discard_arrival(p_move_id uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := tokenbook.people_of_move(p_move_id, 'in');
  v_back_ids uuid[];
  v_phase text;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.lock_accounts(v_user_ids, p_away_too => true);
  select min(m.phase) into v_phase from tokenbook.moves m where m.id = p_move_id and m.direction = 'in';
  if v_phase = 'arrived' then
    perform tokenbook.refuse('invalid_move', '{"rule": "books that are not in use there yet"}');
  elsif v_phase is distinct from 'arriving' then
    return false;
  end if;
  v_back_ids := array( -- @known-who-was-here begin
    select distinct m.user_id from tokenbook.moves m
     where m.user_id = any (v_user_ids) and m.direction = 'out' and m.phase = 'moved'); -- @known-who-was-here end
  update public.token_accounts a set state = 'moved' where a.user_id = any (v_back_ids);
  perform tokenbook.discard_books(array(select u from unnest(v_user_ids) u where u <> all (v_back_ids)));
  v_at := clock_timestamp();
  update tokenbook.moves m
     set phase = 'discarded', settled_at = v_at
   where m.id = p_move_id and m.direction = 'in';
  return true;
end
$$;
comment on function tokenbook.discard_arrival is
  'Takes away what a move brought here and nobody uses yet; users who were here before stay marked as moved. For tokenbook move --cancel.';

/*
 * Takes away the rows of users whose books are whole elsewhere, the ledger's too, which is append-only for everybody else.
 * Caller: begin_arrival, discard_arrival; the caller has locked the accounts.
 */
create function tokenbook.discard_books(p_user_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table record;
begin
  if exists (select 1 from public.token_accounts a where a.user_id = any (p_user_ids) and a.state not in ('moved', 'arriving')) then
    perform tokenbook.refuse('invalid_move', '{"rule": "books that are whole elsewhere"}');
  end if;
  perform tokenbook.require_unsplit('invalid_move', p_with_ledger => true);
  perform set_config('tokenbook.moving_books', 'yes', true); -- what keep_ledger_append_only lets through
  for v_table in
    select l.name, l.whose from tokenbook.tables_of_users() with ordinality as l (name, whose, left_out, stays, nth)
     where l.stays is null or l.name in ('tokenbook.usage_marks', 'tokenbook.usage_totals', 'tokenbook.ledger_checkpoints', 'tokenbook.set_aside_accounts')
     order by case when l.name like '%events' then 0 else 1 end, l.nth desc -- events are found by what they tell of
  loop
    execute format('delete from %s x where %s', v_table.name, v_table.whose) using p_user_ids;
  end loop;
  perform set_config('tokenbook.moving_books', '', true);
end
$$;
comment on function tokenbook.discard_books is
  'Takes away all rows of users whose books are whole in another project. For moves that are taken back, and users who come back.';
