-- A charge that is asked for again costs what the catalogue says by then.
select pg_temp.mutate('top-up-keeps-its-price', 'amount_cents = o.amount_cents,');
