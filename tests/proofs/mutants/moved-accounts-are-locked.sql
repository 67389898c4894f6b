-- An account whose books are elsewhere is locked as any other.
select pg_temp.mutate('locks-what-is-here', '');
