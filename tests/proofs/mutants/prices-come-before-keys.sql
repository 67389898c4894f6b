-- A use whose action has no cost any more is refused, though its key is known.
select pg_temp.mutate('known-keys-of-uses', '');
