-- Gives the new grant its tokens and forgets to take them out of the old one.
select pg_temp.mutate('carried-over-comes-out', 'set tokens_remaining = b.tokens_remaining');
