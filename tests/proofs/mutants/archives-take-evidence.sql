-- A use goes whose entry says another number of tokens.
select pg_temp.mutate('the-entry-says-the-same', 'and t.debt_change - t.tokens + coalesce(o.debt_change - o.tokens, 0) + 0 *');
