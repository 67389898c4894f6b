-- Deducts for an operation whether it succeeded or not.
select pg_temp.mutate('failed-costs-nothing', 'v_entry.tokens := -v_usage.tokens_used;');
