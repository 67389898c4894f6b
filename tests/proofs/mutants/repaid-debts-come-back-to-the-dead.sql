-- Gives what a later grant repaid to the payment's own grant, which may have run out.
select pg_temp.mutate('repaid-from-goes-back', 'r.tokens > 0', 'false');
