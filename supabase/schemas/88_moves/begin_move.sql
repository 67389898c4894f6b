/*
 * The first step of a move to another project, here where the books are: from its commit on nobody changes or reads the
 * books of these users (account_moving), so that they can be copied. What is due is booked first.
 * Everybody of a team goes together, or nobody. p_move_id is the caller's: the same again, as long as it moves, changes nothing.
 * Caller: tokenbook move, as the owner of the database.   Locks: the accounts.
 * Errors: invalid_move, account_moving, account_moved, user_not_found, busy (more is due than one call books: call it again).
 */
create function tokenbook.begin_move(p_move_id uuid, p_user_ids uuid[], p_place text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
  v_found bigint;
  v_rule text;
begin
  -- validate
  v_rule := case
    when (cardinality(p_user_ids) between 1 and 10000) is not true then 'one to 10,000 users'
    when (p_place ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') is not true
      then 'the other project by a name of 1 to 63 characters of A-Z a-z 0-9 . _ -, and never by its address'
    when exists (select 1 from tokenbook.shadow) then 'no counter of the project''s own beside the books: its changes are booked here'
    when exists (select 1 from tokenbook.unlisted_tables())
      then 'every table of users is known, and not so ' || (select string_agg(t, ', ') from tokenbook.unlisted_tables() t)
  end;
  if v_rule is not null then
    perform tokenbook.refuse('invalid_move', jsonb_build_object('rule', v_rule));
  end if;
  foreach v_user_id in array p_user_ids
  loop
    if not exists (select 1 from public.token_accounts a where a.user_id = v_user_id) then
      perform tokenbook.require_user(v_user_id, 'service');
      perform tokenbook.refuse('invalid_move', '{"rule": "users who have books"}');
    end if;
  end loop;

  -- lock
  if (select count(*) from tokenbook.moves m
       where m.id = p_move_id and m.direction = 'out' and m.phase = 'moving' and m.user_id = any (p_user_ids)) = cardinality(p_user_ids)
  then
    return;
  end if;
  perform tokenbook.lock_accounts(p_user_ids);
  -- and what writes rows of theirs without their lock (tokenbook.require_here)
  perform 1 from public.token_accounts a where a.user_id = any (p_user_ids) order by a.user_id for update; -- @writers-are-done-first
  perform 1 from tokenbook.sale_accounts c where c.user_id = any (p_user_ids) order by c.user_id for update;
  if exists (
    select 1 from unnest(p_user_ids) as u (id) cross join lateral unnest(tokenbook.people_of_team(u.id)) as p (id)
     where p.id <> all (p_user_ids)) -- @teams-go-together
  then
    perform tokenbook.refuse('invalid_move', '{"rule": "everybody of a team together"}');
  end if;

  -- act
  foreach v_user_id in array p_user_ids
  loop
    if tokenbook.has_backlog(v_user_id) then
      perform tokenbook.refuse('busy', '{}');
    end if;
  end loop;
  perform tokenbook.record_expiries(array[a.user_id], clock_timestamp(), p_in_portions => true)
     from public.token_accounts a where a.user_id = any (p_user_ids) and a.next_due_at <= clock_timestamp();

  -- record
  insert into tokenbook.moves (user_id, id, direction, phase, place, former_state)
  select a.user_id, p_move_id, 'out', 'moving', p_place, a.state
    from public.token_accounts a where a.user_id = any (p_user_ids);
  update public.token_accounts a
     set next_due_at = null, alerts_version = null, -- @nothing-due-elsewhere
         state = 'moving' -- @locked-before-copied
   where a.user_id = any (p_user_ids);
end
$$;
comment on function tokenbook.begin_move is
  'The first step of a move to another project: nobody changes or reads the books of these users from then on. For tokenbook move.';
