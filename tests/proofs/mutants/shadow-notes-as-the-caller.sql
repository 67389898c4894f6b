-- Changes of the counter are noted with the rights of the role that makes them, which has none.
select pg_temp.mutate('noted-with-our-rights', 'definer', 'invoker');
