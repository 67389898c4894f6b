-- What went back is counted among what tokens cost.
select pg_temp.mutate('basis-less-refunds', '- p.refunded_cents - p.disputed_cents', '');
