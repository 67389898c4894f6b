-- A use goes whose entry says another number of tokens.
select pg_temp.mutate('entry-says-the-same', 'and case when p_use.success then p_use.tokens_used - p_use.tokens_uncovered else 0 end');
