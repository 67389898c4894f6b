/*
 * Refuses one more hold to a user who has as many open ones as a user may have at a time (tokenbook.limit_of), and any
 * hold to a deleted user. The payer and each member of a team are counted separately, so that none uses up the
 * others' number. What has run out counts no more, booked or not.
 * Caller: internal, holding the account's lock.   Errors: user_not_found, too_many_holds.   Keeps: I11.
 */
create function tokenbook.check_open_holds(p_user_id uuid, p_member_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform 1
     from auth.users u
    where u.id = p_user_id and u.deleted_at is null
      and (p_member_id is null or exists (select 1 from auth.users m where m.id = p_member_id and m.deleted_at is null))
      and not exists (
        select 1 from public.token_holds h
         where h.user_id = p_user_id and coalesce(h.member_id, h.user_id) = coalesce(p_member_id, p_user_id)
           and h.status = 'open' and h.expires_at > p_now
        offset coalesce( -- as tokenbook.limit_of says it
          (select c.value from tokenbook.chosen_limits c where c.name = 'open_holds'),
          (tokenbook.limits() -> 'open_holds')::integer) - 1); -- @holds-are-bounded
  if found then
    return;
  elsif tokenbook.is_user(p_user_id) and (p_member_id is null or tokenbook.is_user(p_member_id)) then
    perform tokenbook.refuse('too_many_holds', jsonb_build_object('limit', tokenbook.limit_of('open_holds')));
  end if;
  perform tokenbook.refuse('user_not_found', '{}');
end
$$;
comment on function tokenbook.check_open_holds is
  'Refuses one more hold to a user, or a member of their team, who has as many open ones as one may have, or is deleted.';
