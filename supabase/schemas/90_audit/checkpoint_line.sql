/*
 * A user's line of a checkpoint: who, the number of the last entry, and the digests up to it.
 * Caller: internal.   Returns NULL where there is nothing.
 */
create function tokenbook.checkpoint_line(p_last tokenbook.ledger_checkpoints)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_last.user_id || ' ' || p_last.id || ' ' || encode(p_last.numbers, 'hex') || ' ' || encode(p_last.words, 'hex');
end
$$;
comment on function tokenbook.checkpoint_line is
  'A user''s line of a checkpoint: user_id, number of the last entry, digest of the numbers, digest of the words.';
