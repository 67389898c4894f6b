/*
 * The address of a user; NULL: none, or they were deleted.
 * Caller: service_role, through public.token_payment_email.   Locks: nothing.
 */
-- Security definer: callers have no read access to the host's table of users.
create function tokenbook.email_of_user(p_user_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select u.email from auth.users u where u.id = p_user_id);
end
$$;
comment on function tokenbook.email_of_user is 'The address of a user; NULL: none, or they were deleted.';

/*
 * A computed field for admins: over the API `select=token_payment_email`. Its parameter has no name, so that it is a
 * field and no rpc.
 * Caller: service_role.
 */
create function public.token_payment_email(public.token_payments)
returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select tokenbook.email_of_user($1.user_id)
$$;
comment on function public.token_payment_email is
  'The address of the user who asked for a payment: select p.token_payment_email from token_payments p. NULL: none, or they were deleted. For the server.';
