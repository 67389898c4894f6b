-- Deducts for an operation whether it succeeded or not.
select pg_temp.mutate('tokenbook.track_token_usage', 'case when v_usage.success then -v_usage.tokens_used else 0 end', '-v_usage.tokens_used');
