-- A charge that is asked for again costs what the catalogue says by then.
select pg_temp.mutate('price-of-first-claim', 'amount_cents = o.amount_cents,');
