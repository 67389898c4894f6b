-- The items of a batch that are usual do not ask for the caps that everyone is under.
select pg_temp.mutate('private.spend_many', 'and not exists (select from public.default_spend_caps)', '');
