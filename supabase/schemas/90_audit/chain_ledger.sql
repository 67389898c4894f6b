/*
 * The chain over a user's ledger: each digest is SHA-256 of the one before and the entry, so that the last
 * one says what every entry was, and in which order they stood. Two of them: the numbers, and the words
 * that callers wrote, so that words about a person may be erased one day and the numbers still be proved
 * (decision 39). Goes on after an entry whose digests are known, or begins before the first.
 *
 * An entry is its columns as Postgres sends a row: each with its type, its length and its bytes. That is
 * without ambiguity, and the same in every session: no time zone, date style or encoding of a client takes
 * part. A column that is added to the ledger later goes to the end of a list, and only into entries that
 * have it, or no earlier checkpoint would fit any more.
 *
 * Caller: internal.   Returns the digests at each hundredth entry, and at the last one that was read.
 */
create function tokenbook.chain_ledger(
  p_user_id uuid,
  p_after tokenbook.ledger_checkpoints default null, -- where to go on; NULL: from the beginning
  p_until bigint default 9223372036854775807,
  p_limit bigint default null
)
returns setof tokenbook.ledger_checkpoints
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_at tokenbook.ledger_checkpoints := p_after;
begin
  if v_at.id is null then
    -- its own beginning for each user and each of the two: no chain can be taken for another
    v_at.user_id := p_user_id;
    v_at.numbers := sha256(convert_to('tokenbook checkpoint 1: numbers of ' || p_user_id, 'UTF8'));
    v_at.words := sha256(convert_to('tokenbook checkpoint 1: words of ' || p_user_id, 'UTF8'));
  end if;
  for v_entry in
    select t.id,
           record_send(row(
             t.id, convert_to(t.entry_type, 'UTF8'), convert_to(t.action_type, 'UTF8'),
             t.tokens, t.balance_after, t.debt_change, t.reserved_change, -- @every-column-chained
             t.grant_ids, t.grant_tokens, convert_to(t.actor_role, 'UTF8'), t.actor_id,
             t.usage_id, t.hold_id, t.payment_id, t.original_id, t.member_id, t.created_at,
             convert_to(t.terms::text, 'UTF8'))) as numbers,
           record_send(row(
             convert_to(t.reason, 'UTF8'), convert_to(t.idempotency_key, 'UTF8'),
             convert_to(t.request::text, 'UTF8'), convert_to(t.metadata::text, 'UTF8'))) as words
      from public.token_transactions t
     where t.user_id = p_user_id
       and t.id >= coalesce(v_at.id + 1, -9223372036854775808) and t.id <= p_until
     order by t.id
     limit p_limit
  loop
    v_at.id := v_entry.id;
    v_at.numbers := sha256(v_at.numbers || v_entry.numbers); -- @chain-goes-on
    v_at.words := sha256(v_at.words || v_entry.words);
    if v_at.id % 100 = 0 then
      return next v_at;
    end if;
  end loop;
  if v_at.id % 100 <> 0 and v_at.id is distinct from p_after.id then
    return next v_at;
  end if;
end
$$;
comment on function tokenbook.chain_ledger is
  'The chain over a user''s ledger: SHA-256 of the digest before and the entry, one for the numbers and one for the words. p_after goes on from there, p_until is the last entry, p_limit the most entries. Returns the digests at each hundredth entry and at the last.';
