-- The policy that everybody writes first: users may write their own rows, so they may set their own balance.
do $$
declare
  v_table regclass;
begin
  grant all on all tables in schema public to anon, authenticated, service_role;
  for v_table in
    select a.attrelid::regclass from pg_attribute a
      join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p') and not c.relispartition
     where c.relnamespace = 'public'::regnamespace and a.attname = 'user_id'
  loop
    execute format('create policy "own rows" on %s for all to authenticated using ((select tokenbook.caller_id()) = user_id)', v_table);
  end loop;
end
$$;
