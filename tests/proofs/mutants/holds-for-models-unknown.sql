-- A hold for a model that nobody knows is made, where those are refused.
select pg_temp.mutate('unknown-models-hold-nothing', '');
