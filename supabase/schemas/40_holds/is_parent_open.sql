/*
 * Whether what a hold does not use goes back to its parent at that moment, and not to the grants: it has one, which was
 * open and had not run out.
 * Caller: internal.
 */
create function tokenbook.is_parent_open(p_user_id uuid, p_parent_id uuid, p_at timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_parent_id is not null and exists (
    select 1 from public.token_holds p
     where p.user_id = p_user_id and p.id = p_parent_id and p.expires_at > p_at
       and (p.settled_at is null or p.settled_at > p_at));
end
$$;
comment on function tokenbook.is_parent_open is
  'Whether a hold has a parent that was open at that moment: what it does not use goes back to that.';

/*
 * When the tokens of a hold were set aside: when it was made, or its parent. A cap counts them in that window, once.
 * Caller: internal.
 */
create function tokenbook.set_aside_at(p_hold public.token_holds)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select p.created_at from public.token_holds p where p.user_id = p_hold.user_id and p.id = p_hold.parent_id),
    p_hold.created_at);
end
$$;
comment on function tokenbook.set_aside_at is
  'When the tokens of a hold were set aside: when it was made, or the parent that they are a part of.';
