-- A top-up is charged where its user was.
select pg_temp.mutate('charged-where-they-are', 'select from public.token_accounts a where false)');
