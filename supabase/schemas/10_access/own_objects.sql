/*
 * What is ours in the catalogue: everything in tokenbook, and in public what own_relations and own_functions name.
 * A function of the project's that has the name of one of those is among them: the API would take either for the other.
 * Caller: present_rights, present_shape, check_token_installation.
 */
create function tokenbook.own_objects()
returns table (class regclass, object oid)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select 'pg_class'::regclass, c.oid
    from pg_class c
   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
     and (c.relnamespace = 'tokenbook'::regnamespace
       or (c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations())))
  union all
  select 'pg_proc'::regclass, p.oid
    from pg_proc p
   where p.pronamespace = 'tokenbook'::regnamespace
      or (p.pronamespace = 'public'::regnamespace and p.proname = any (tokenbook.own_functions()));
end
$$;
comment on function tokenbook.own_objects is
  'The relations and functions of Tokenbook: in schema tokenbook all, in public those of own_relations and own_functions. Returns class, object.';
