-- Counts what a provider took back, and beside it the dispute because of which it did.
select pg_temp.mutate('no-more-than-disputed', 'coalesce(max(r.most_cents), 0)', '0');
