/*
 * Settles a hold: what lies behind the captured front of it goes back, last taken first. The caller
 * holds the account's lock, has found the hold open, and has booked the capture.
 * p_status: captured, released, or expired.
 * Caller: internal.   Returns the hold.   Keeps: I1 to I4.
 */
create function tokenbook.close_hold(
  p_hold public.token_holds,
  p_captured bigint,
  p_status text,
  p_now timestamptz,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_holds
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
begin
  update public.token_holds h
     set status = p_status, tokens_captured = p_captured, settled_at = p_now,
         tokens_uncovered = p_hold.tokens_uncovered,
         capture_id = p_hold.capture_id, overage_id = p_hold.overage_id, usage_id = p_hold.usage_id
   where h.user_id = p_hold.user_id and h.id = p_hold.id
  returning h.* into p_hold;
  if p_captured = p_hold.tokens then
    return p_hold;
  end if;

  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from tokenbook.slice_allocations(p_hold.grant_ids, p_hold.grant_tokens, p_captured, p_hold.tokens) as part
   cross join lateral tokenbook.return_tokens(p_hold.user_id, part.grant_ids, part.grant_tokens, p_now) as back;
  v_entry.user_id := p_hold.user_id;
  v_entry.entry_type := 'release';
  v_entry.action_type := p_hold.action_type;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_captured - p_hold.tokens;
  v_entry.hold_id := p_hold.id;
  v_entry.member_id := p_hold.member_id;
  v_entry.original_id := p_hold.transaction_id;
  v_entry.reason := case p_status when 'expired' then 'the hold ran out' when 'captured' then 'not needed' else 'released' end;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform tokenbook.record_transaction(v_entry);
  if p_status <> 'expired' then -- what has run out is being booked by whoever found it
    perform tokenbook.settle_incoming(p_hold.user_id, p_now);
  end if;
  return p_hold;
end
$$;
comment on function tokenbook.close_hold is
  'Settles a hold of which that many tokens were captured: the rest goes back to its grants, last taken first.';
