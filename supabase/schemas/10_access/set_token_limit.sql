/*
 * Chooses how many open holds or pending payments a user may have at a time, for the whole project, from
 * now on. What is there already stays; only new ones are refused. p_value NULL: the default again.
 * Caller: service_role.   Locks: nothing.   Errors: invalid_limit, unsupported_media_type, invalid_request.   Keeps: I10, I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_limit(p_name text, p_value integer)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_name is null or p_name not in ('open_holds', 'pending_payments') then
    perform tokenbook.refuse('invalid_limit', '{"field": "p_name", "rule": "open_holds or pending_payments"}');
  elsif p_value not between 1 and 10000 then
    perform tokenbook.refuse('invalid_limit', '{"field": "p_value", "rule": "1 to 10000, or null for the default"}');
  end if;
  if p_value is null then
    delete from tokenbook.chosen_limits c where c.name = p_name;
  else
    v_at := clock_timestamp();
    insert into tokenbook.chosen_limits as c (name, value) values (p_name, p_value)
    on conflict (name) do update set value = excluded.value, chosen_at = v_at;
  end if;
  perform tokenbook.record_change(
    'set_token_limit', null, 'service', null, null, jsonb_build_object('name', p_name, 'value', tokenbook.limit_of(p_name)));
  return jsonb_build_object('success', true, 'name', p_name, 'value', tokenbook.limit_of(p_name));
end
$$;
comment on function tokenbook.set_token_limit is
  'Chooses how many open_holds or pending_payments (p_name) a user may have at a time: p_value 1 to 10000, NULL the default again (Lists, in the reference). For the server. Returns {success, name, value}. Errors: invalid_limit.';
