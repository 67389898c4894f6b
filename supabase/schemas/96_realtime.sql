/*
 * Lets a signed-in user watch their own account row (row level security applies) for a live balance.
 */
do $$
begin
  if exists (select 1 from pg_publication p where p.pubname = 'supabase_realtime' and not p.puballtables)
    and not exists (
      select 1 from pg_publication_tables t
       where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'token_accounts')
  then
    alter publication supabase_realtime add table public.token_accounts;
  end if;
end
$$;
