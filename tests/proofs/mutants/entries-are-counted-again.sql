-- What is counted is counted again.
select pg_temp.mutate('each-entry-once', 'and p.id > s.from_id', '');
