-- Whoever has no account has nothing, whatever else the books say of them.
select pg_temp.mutate('tokenbook.is_account_lost', 'return not exists', 'return false and not exists');
