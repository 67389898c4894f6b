/*
 * The names of a list as a refusal says them: "admin, plan or trial".
 * Caller: internal.
 */
create function tokenbook.say_one_of(p_list jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array(
    select n.name from jsonb_object_keys(p_list) as n (name) order by n.name collate "C");
begin
  return concat_ws(' or ',
    nullif(array_to_string(v_names[:cardinality(v_names) - 1], ', '), ''), v_names[cardinality(v_names)]);
end
$$;
comment on function tokenbook.say_one_of is 'The names of a list in words: a, b or c.';
