-- What repaid a debt gets it back though it was voided since.
select pg_temp.mutate('voided-come-last', ', p.place > 1 and b.voided_at is not null', '');
