-- A use whose action has no cost any more is refused, though its key is known.
select pg_temp.mutate('known-keys-of-uses', 'if v_success and v_tokens_used is null then');
