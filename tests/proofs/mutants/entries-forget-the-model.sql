-- What a use was of is not kept.
select pg_temp.mutate('terms-name-the-model', 'null;');
