/*
 * An entry as one that ends that grant: which, and until when it would have lived.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.as_void(p_entry public.token_transactions, p_grant_id uuid)
returns public.token_transactions
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- until now its place in the burn order was by the expiry that it had; in UTC, not in the session's time zone
  select jsonb_strip_nulls(jsonb_build_object('expires_at', (tokenbook.expiry_as_granted(row(b.*)::public.token_balances) at time zone 'utc')::text || 'Z'))
    into p_entry.metadata
    from public.token_balances b where b.user_id = p_entry.user_id and b.id = p_grant_id;
  p_entry.metadata := coalesce(p_entry.metadata, '{}');
  p_entry.terms := jsonb_build_object('voids', p_grant_id);
  return p_entry;
end
$$;
comment on function tokenbook.as_void is 'An entry as one that ends that grant: which, and until when it would have lived.';

/*
 * Ends a grant now, which is there and not ended yet: what is left of it is taken away, and with p_take_back what was
 * spent of it too (tokenbook.claw_back). p_entry is the transaction to be, of tokenbook.as_void.
 * Caller: internal, holding the account's lock, with nothing due.   Returns the transaction.   Keeps: I1 to I4, I9.
 */
create function tokenbook.void_grant(
  p_entry public.token_transactions,
  p_grant_id uuid,
  p_take_back boolean,
  p_now timestamptz
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
  v_voided public.token_transactions;
  v_tokens bigint;
  v_over_at timestamptz;
begin
  select b.* into v_grant from public.token_balances b where b.user_id = p_entry.user_id and b.id = p_grant_id;
  select g.id into p_entry.original_id
    from public.token_transactions g
   where g.user_id = p_entry.user_id and g.grant_ids @> array[p_grant_id]
   order by g.id
   limit 1;

  if p_take_back then -- @mistakes-taken-back-whole
    -- what the user has left of it, or has spent. Not what ran out, was taken back before or was carried over into
    -- another grant; and what is held stays with its hold. The entry that made the grant is none of these
    select v_grant.tokens_granted - coalesce(sum(case when t.tokens > 0 then -a.tokens else a.tokens end), 0)::bigint
             - coalesce((
                 select sum(held.tokens)
                   from public.token_holds h
                  cross join lateral unnest(h.grant_ids, h.grant_tokens) as held (grant_id, tokens)
                  where h.user_id = p_entry.user_id and h.status = 'open' and held.grant_id = p_grant_id), 0)::bigint -- @held-is-not-had
      into v_tokens
      from public.token_transactions t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
     where t.user_id = p_entry.user_id and a.grant_id = p_grant_id
       and t.entry_type in ('expiry', 'clawback', 'restoration', 'restatement', 'rollover') -- @carried-over-stays
       and t.id is distinct from p_entry.original_id;
    v_voided := tokenbook.claw_back(p_entry, p_grant_id, v_tokens);
  else
    p_entry.entry_type := 'void';
    p_entry.action_type := 'void';
    p_entry.tokens := -v_grant.tokens_remaining;
    p_entry.grant_ids := case when v_grant.is_open then array[p_grant_id] else '{}' end;
    p_entry.grant_tokens := case when v_grant.is_open then array[v_grant.tokens_remaining] else '{}' end;
    p_entry.created_at := p_now;
    update public.token_balances b
       set tokens_remaining = 0, is_open = false
     where b.user_id = p_entry.user_id and b.id = p_grant_id;
    v_voided := tokenbook.record_transaction(p_entry);
  end if;
  v_over_at := greatest(v_voided.created_at, v_grant.granted_at + interval '1 microsecond');
  update public.token_balances b
     set voided_at = v_voided.created_at,
         expires_at = least(b.expires_at, v_over_at)
   where b.user_id = p_entry.user_id and b.id = p_grant_id;
  return v_voided;
end
$$;
comment on function tokenbook.void_grant is
  'Ends a grant: what is left of it is taken away, and with p_take_back what was spent of it too. Returns the transaction.';
