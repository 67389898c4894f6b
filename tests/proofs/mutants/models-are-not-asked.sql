-- A grant for some models pays for any.
select pg_temp.mutate('pays-for-its-models', $$and (p_pays_for -> 'models' is null$$, 'and (true');
