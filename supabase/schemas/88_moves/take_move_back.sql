/*
 * Takes a move back, here where the books are: they are in use again, as they were before. Only as long as this project has
 * not said that they are elsewhere (tokenbook.mark_moved): apps that were told so would ask where nothing is. The caller
 * discards the copy there afterwards (tokenbook.discard_arrival); from this commit on nobody can open it.
 * Caller: tokenbook move --cancel.   Locks: the accounts.   Errors: invalid_move.   Returns false where nothing moves.
 */
create function tokenbook.take_move_back(p_move_id uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids constant uuid[] := tokenbook.people_of_move(p_move_id, 'out');
  v_phase text;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.lock_accounts(v_user_ids, p_away_too => true);
  select min(m.phase) into v_phase from tokenbook.moves m where m.id = p_move_id and m.direction = 'out';
  if v_phase is null then
    perform tokenbook.refuse('invalid_move', '{"rule": "a move that there is"}');
  elsif v_phase = 'moved' then -- @let-go-is-final
    perform tokenbook.refuse('invalid_move', '{"rule": "books that this project has not let go of"}');
  elsif v_phase = 'taken_back' then
    return false;
  elsif exists (select 1 from public.token_accounts a where a.user_id = any (v_user_ids) and a.state <> v_phase) then
    perform tokenbook.refuse('invalid_move', '{"rule": "the newest move of these users"}');
  end if;
  v_at := clock_timestamp();
  update public.token_accounts a
     set state = m.former_state, next_due_at = v_at, alerts_version = -1, updated_at = v_at -- @looked-at-again
    from tokenbook.moves m
   where m.id = p_move_id and m.direction = 'out' and a.user_id = m.user_id;
  update tokenbook.moves m
     set phase = 'taken_back', settled_at = v_at
   where m.id = p_move_id and m.direction = 'out';
  return true;
end
$$;
comment on function tokenbook.take_move_back is
  'Takes a move back: the books of these users are in use here again. For tokenbook move --cancel.';
