-- Tokens that a hold has set aside count as spent when a slot begins.
select pg_temp.mutate('held-is-not-spent', $$'open'$$, $$'none'$$);
