/*
 * Lets an administrator or the server through, where no one user is concerned.
 * Caller: internal.   Errors: not_authenticated, forbidden.
 */
create function tokenbook.authorize_operator()
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- a user that is nobody: only who may act for anyone passes
  perform tokenbook.authorize('00000000-0000-0000-0000-000000000000', p_self_may => false);
end
$$;
comment on function tokenbook.authorize_operator is 'Refuses everyone but administrators and the server.';
