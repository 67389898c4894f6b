-- However many restricted grants an account has, it gets another.
select pg_temp.mutate('restricted-grants-are-few', 'restricted_grants', 'usage_rows');
