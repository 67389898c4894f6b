-- Counts what a provider took back, and beside it the dispute because of which it did.
select pg_temp.mutate('one-loss-a-dispute', $$bool_or(d.status in ('open', 'won', 'lost'))$$, 'false');
