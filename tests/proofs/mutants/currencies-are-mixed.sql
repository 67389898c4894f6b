-- What was counted in one currency stays there when the payment turns out to be of another.
select pg_temp.mutate('never-of-two-currencies', 's.currency <> s.currency_now', 'false');
