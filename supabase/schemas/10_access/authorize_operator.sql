/*
 * Lets an administrator or the server through, where no one user is concerned, and says which.
 * Caller: internal.   Errors: not_authenticated, forbidden.
 */
create function tokenbook.authorize_operator(
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- the id of no user: only a caller who may act for every user passes
  select a.actor_role, a.actor_id into actor_role, actor_id
    from tokenbook.authorize('00000000-0000-0000-0000-000000000000', p_self_may => false) a;
end
$$;
comment on function tokenbook.authorize_operator is 'Refuses everyone but administrators and the server; says which of them it is.';
