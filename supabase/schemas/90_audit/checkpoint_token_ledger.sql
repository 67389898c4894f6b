/*
 * Says in a few bytes what the ledger is now, to be kept where no role that can write the ledger can write: a line for each
 * user with the number of their last entry and the digests of the chain up to it, and one digest over
 * all lines. verify_token_checkpoint compares the ledger with it later.
 * For one user, or for everyone in pages: p_limit is how many entries it reads, at most, and a user counts
 * as one more. Reads only what no checkpoint has read (tokenbook.ledger_checkpoints); deductions are not slowed.
 * On a read replica, or in a transaction that is read-only, what it has read is not kept: it is read again the next time.
 * A user's entries are seen by number, and one who is booked for meanwhile has in the line what came before.
 * Caller: an admin, service_role.   Locks: other checkpoints, for at most two seconds.
 * Errors: not_authenticated, forbidden, invalid_checkpoint, busy, read_only.
 */
-- Security definer: nobody may write the table, and an admin reads other users' rows.
create function tokenbook.checkpoint_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_digest text default null,
  p_limit integer default 50000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_user record;
  v_last tokenbook.ledger_checkpoints;
  v_room bigint := p_limit;
  v_read bigint := 0;
  v_entries bigint := 0;
  v_users bigint := 0;
  v_after uuid := p_after;
  v_is_cut boolean := false;
  v_is_reader constant boolean := current_setting('transaction_read_only')::boolean;
  v_lines text[] := '{}';
  v_line text;
  v_digest bytea;
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 1000000 then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_limit", "rule": "1 to 1000000"}');
  end if;
  if p_digest !~ '^[0-9a-f]{64}$' or p_digest is null and p_after is not null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_digest", "rule": "that of next, as it was given"}');
  end if;
  if p_user_id is not null and p_after is not null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_after", "rule": "left out, where it is of one user"}');
  end if;

  begin
    perform pg_advisory_xact_lock(hashtextextended('tokenbook.ledger_checkpoints', 0));
  exception
    when lock_not_available then
      perform tokenbook.refuse('busy', '{}');
  end;

  v_digest := decode(p_digest, 'hex');
  if v_digest is null then
    v_line := format('tokenbook checkpoint 1 of %s at %s', coalesce(p_user_id::text, 'everyone'),
      to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
    v_lines := array[v_line];
    v_digest := sha256(convert_to(v_line || chr(10), 'UTF8'));
  end if;

  -- The users in the ledger, from one to the next in the index: not the accounts, which can be lost.
  for v_user in
    with recursive users as (
      select coalesce(p_user_id, tokenbook.next_ledger_user(p_after)) as user_id
      union all
      select n.user_id
        from users u
       cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
       where p_user_id is null and n.user_id is not null
    )
    select u.user_id, l.last_id, k.kept
      from users u
     cross join lateral (
       select t.id as last_id from public.token_transactions t
        where t.user_id = u.user_id order by t.id desc limit 1) l
      left join lateral (
       select row(c.*)::tokenbook.ledger_checkpoints as kept from tokenbook.ledger_checkpoints c
        where c.user_id = u.user_id order by c.id desc limit 1) k on true
  loop
    if v_room <= 0 then
      v_is_cut := true;
      exit;
    end if;
    v_last := v_user.kept;
    if v_last.id is null or v_last.id < v_user.last_id then
      if v_is_reader then
        select c.* into v_last
          from tokenbook.chain_ledger(v_user.user_id, v_user.kept, v_user.last_id, v_room) c order by c.id desc limit 1;
        if v_last.id < v_user.last_id then
          perform tokenbook.refuse('read_only', '{}'); -- how far it came is not kept: the next call would come no further
        end if;
      else
        with chain as materialized (
          select c.* from tokenbook.chain_ledger(v_user.user_id, v_user.kept, v_user.last_id, v_room) c
        ), kept as (
          insert into tokenbook.ledger_checkpoints select c.* from chain c
        )
        select c.* into v_last from chain c order by c.id desc limit 1;
        -- the last one of before is no hundredth, and of no more use
        delete from tokenbook.ledger_checkpoints c
         where c.user_id = v_user.user_id and c.id = (v_user.kept).id and c.id % 100 <> 0;
      end if;
      v_read := v_read + v_last.id - coalesce((v_user.kept).id, 0);
      v_room := v_room - (v_last.id - coalesce((v_user.kept).id, 0));
      if v_last.id < v_user.last_id then
        v_is_cut := true;
        exit;
      end if;
    end if;
    v_room := v_room - 1;
    v_line := tokenbook.checkpoint_line(v_last);
    v_lines := v_lines || v_line;
    v_digest := sha256(v_digest || convert_to(v_line || chr(10), 'UTF8'));
    v_users := v_users + 1;
    v_entries := v_entries + v_last.id;
    v_after := v_last.user_id;
  end loop;

  return jsonb_build_object(
    'digest', encode(v_digest, 'hex'),
    'users', v_users,
    'entries', v_entries,
    'entries_read', v_read,
    'lines', v_lines,
    'next', case when v_is_cut then jsonb_build_object('p_after', v_after, 'p_digest', encode(v_digest, 'hex')) end);
end
$$;
comment on function tokenbook.checkpoint_token_ledger is
  'Says in a few bytes what the ledger is now, to be kept elsewhere: verify_token_checkpoint finds what was changed since, by any role. For an admin or the server. For one user (p_user_id), or for everyone in pages: call it again with what next says until next is NULL. p_limit: how many entries a page reads at most, 1 to 1,000,000. Reads only what is new since the last checkpoint. Returns {digest (of this page''s lines and all before, SHA-256 in hex: on the last page that of the checkpoint), users, entries, entries_read (of them, now), lines (the first of all says of whom and when, then one for each user: user_id, number of the last entry, digest of the numbers, digest of the words), next: {p_after, p_digest}}. Keep all lines, and the last digest apart from them. Errors: not_authenticated, forbidden, invalid_checkpoint, busy, read_only (of a read replica: a user has more entries than p_limit that no checkpoint has read).';
