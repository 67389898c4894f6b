/*
 * Everybody whose books have to be in one project with this user's: their payer and the members of their team, those who
 * have left too, and all of their teams. What a member spent, and its key, is in the payer's ledger: a retry must find it.
 * Caller: tokenbook.begin_move, tokenbook move.   Returns the user alone where there is no team.
 */
create function tokenbook.people_of_team(p_user_id uuid)
returns uuid[]
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with recursive people as (
      select p_user_id as id
      union
      select m.other
        from people p
       cross join lateral (
         select t.member_id as other from public.token_team_members t where t.user_id = p.id
         union all
         select t.user_id from public.token_team_members t where t.member_id = p.id -- @members-bring-their-payer
       ) m
    )
    select array_agg(p.id order by p.id) from people p);
end
$$;
comment on function tokenbook.people_of_team is
  'Everybody whose books have to be in one project with this user''s, this user among them: payers and members, present and past.';
