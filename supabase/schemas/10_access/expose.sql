/*
 * Makes an internal function callable by clients: a wrapper of the same name, arguments, defaults,
 * result and comment in `public`, which runs as its caller and does nothing but call it. So the
 * signature and its words are written once, and the privilege is visible before the logic.
 * The roles may execute both; nobody else may.
 * Caller: migrations (95_privileges.sql).
 */
create function tokenbook.expose(p_function text, variadic p_roles text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
  v_roles text := (select string_agg(quote_ident(r), ', ') from unnest(p_roles) r);
begin
  select p.oid::regprocedure as signature,
         pg_get_function_identity_arguments(p.oid) as types,
         pg_get_function_arguments(p.oid) as arguments,
         pg_get_function_result(p.oid) as result,
         case p.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end as volatility,
         array_to_string(p.proargnames[:p.pronargs], ', ') as names,
         p.proretset as returns_rows,
         obj_description(p.oid, 'pg_proc') as words
    into v_function
    from pg_proc p
   where p.pronamespace = 'tokenbook'::regnamespace and p.proname = p_function;

  execute format(
    $create$
create function public.%I(%s)
returns %s
language plpgsql
%s
security invoker
set search_path = pg_catalog, pg_temp
as $body$
begin
  return %stokenbook.%I(%s);
end
$body$
    $create$,
    p_function, v_function.arguments, v_function.result, v_function.volatility,
    case when v_function.returns_rows then 'query select * from ' else '' end, p_function, v_function.names);
  execute format('comment on function public.%I is %L', p_function, v_function.words);
  perform tokenbook.withdraw_rights('function', p.oid)
     from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = p_function;
  execute format('grant execute on function public.%I, %s to %s', p_function, v_function.signature, v_roles);
end
$$;
comment on function tokenbook.expose is
  'Makes an internal function callable by these roles: a wrapper of the same signature and comment in public, which runs as its caller. For migrations.';
