-- A refund of 5 yen counts as one of 5 cents.
select pg_temp.mutate('other-currencies-are-all', 'is true then v_facts.amount_cents', 'is true then (e.facts ->> ''amount_cents'')::bigint');
