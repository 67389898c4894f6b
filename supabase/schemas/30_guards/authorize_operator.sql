/*
 * Lets an administrator or the server through, where no one user is concerned.
 * Caller: internal.   Errors: not_authenticated, forbidden.
 */
create or replace function private.authorize_operator()
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- a user that is nobody: only who may act for anyone passes
  perform private.authorize('00000000-0000-0000-0000-000000000000', p_self_may => false);
end
$$;
comment on function private.authorize_operator() is 'Refuses everyone but administrators and the server.';
revoke all on function private.authorize_operator() from public, anon, authenticated, service_role;
