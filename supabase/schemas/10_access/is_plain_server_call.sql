/*
 * Whether it is the server that asks, for a user whom it names, and nothing is wrong with the body: what nearly every
 * call is, seen at a glance. What is not is tokenbook.authorize's to judge.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.is_plain_server_call(p_user_id uuid)
returns boolean
language sql
volatile -- as is_plain_body is, or Postgres would not inline it
security invoker
as $$
  select current_setting('role') = 'service_role'
    and p_user_id is not null
    and tokenbook.is_plain_body() -- @plain-calls-one-object
$$;
comment on function tokenbook.is_plain_server_call is
  'Whether the server asks for a user whom it names, with a body in which nothing is wrong, seen at a glance; what is not is judged by authorize.';
