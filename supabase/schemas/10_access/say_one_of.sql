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
begin
  return regexp_replace(
    (select string_agg(n.name, ', ' order by n.name collate "C") from jsonb_object_keys(p_list) as n (name)),
    ', ([^,]+)$', ' or \1');
end
$$;
comment on function tokenbook.say_one_of is 'The names of a list in words: a, b or c.';
