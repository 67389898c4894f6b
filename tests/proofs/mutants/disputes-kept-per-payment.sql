-- Keeps one state of all disputes of a payment: one that is won covers every other.
select pg_temp.mutate('disputes-by-id', 'e.facts ->> ''dispute_id''', 'e.provider');
