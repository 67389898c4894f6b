/*
 * Undoes a deduction, in part or whole, as often as there is something left of it: the tokens go
 * back to the very grants that paid, last taken first. What was used and owed (an overdraft) was taken last: it is owed no
 * longer, and what has repaid it goes back to the grants that did.
 * Into a grant that has run out: forfeit (they expire at once, in the ledger) or reissue (one new
 * grant that lives p_lifetime_days). What is owed is repaid first, as from anything that comes in.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, tokens_refunded, debt_cancelled (of it; only where there was a debt), restored: [{grant_id, grant_type, tokens}],
 * forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found,
 * not_refundable, refund_exceeds_charge, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint default null,
  p_reason text default null,
  p_expired_policy text default 'forfeit',
  p_idempotency_key text default null,
  p_lifetime_days integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_refund public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_charge record;
  v_refundable bigint;
  v_wanted bigint;
  v_of_overdraft bigint; -- of what is given back
  v_paid_left bigint; -- of what grants have paid
  v_repaid_ids uuid[] := '{}'; -- the grants that have repaid it
  v_repaid_tokens bigint[] := '{}';
  v_is_one_grant boolean; -- one grant paid, and it has not run out: the usual case
  v_part record;
  v_back record;
  v_expired_ids uuid[] := '{}';
  v_expired_tokens bigint[] := '{}';
  v_expired_type text;
  v_new public.token_balances;
  v_remaining bigint;
begin
  -- validate
  v_entry.actor_role := 'service';
  if not tokenbook.is_plain_server_call(p_user_id) then
    select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  end if;
  if p_tokens is not null then
    perform tokenbook.check_tokens('p_tokens', p_tokens);
  end if;
  if (p_expired_policy = 'forfeit' and p_lifetime_days is null) is not true then
    if p_expired_policy is null or p_expired_policy not in ('forfeit', 'reissue') then
      perform tokenbook.refuse('invalid_refund', '{"field": "p_expired_policy", "rule": "forfeit or reissue"}');
    elsif (p_expired_policy = 'reissue' and p_lifetime_days between 1 and 36500) is not true then
      perform tokenbook.refuse('invalid_refund',
        '{"field": "p_lifetime_days", "rule": "1 to 36500 with reissue, left out otherwise"}');
    end if;
  end if;
  if p_idempotency_key is not null or p_reason is not null then
    perform tokenbook.check_request(p_idempotency_key, p_reason, null);
  end if;

  -- lock
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    if tokenbook.settle_backlog(p_user_id) then
      return tokenbook.answer_busy();
    end if;
  end if;
  select t.id, t.entry_type, t.action_type, t.tokens, t.debt_change, t.reserved_change, t.grant_ids, t.grant_tokens, t.member_id,
         t.usage_id, t.hold_id, t.created_at, b.grant_type, b.expires_at, (
           select coalesce(sum(r.tokens - r.debt_change), 0)::bigint
             from public.token_transactions r
            where r.user_id = p_user_id and r.original_id = t.id and r.entry_type = 'refund') as refunded
    into v_charge -- and the first of the grants that paid it
    from public.token_transactions t
    left join public.token_balances b on b.user_id = p_user_id and b.id = t.grant_ids[1]
   where t.user_id = p_user_id and t.id = p_transaction_id;

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.metadata := '{}';
  if p_idempotency_key is not null then
    v_entry.request := jsonb_strip_nulls(jsonb_build_object(
      'operation', 'refund', 'transaction_id', p_transaction_id, 'tokens', p_tokens, 'reason', p_reason,
      'expired_policy', p_expired_policy, 'lifetime_days', p_lifetime_days));
    v_refund := tokenbook.find_replay(v_entry);
    if v_refund.id is null then
      -- what a member spent is refunded under the member's id, and that id is part of the key
      select t.member_id into v_entry.member_id
        from public.token_team_members m
        join public.token_transactions t on t.member_id = m.member_id and t.idempotency_key = p_idempotency_key
       where m.user_id = p_user_id and t.user_id = p_user_id and t.actor_role <> 'user'
         and (t.entry_type = 'refund' or t.member_id = v_charge.member_id)
       order by t.entry_type = 'refund' desc, t.id
       limit 1;
      if v_entry.member_id is not null then
        v_refund := tokenbook.find_replay(v_entry);
      end if;
    end if;
    if v_refund.id is not null then
      return tokenbook.stored_refund_receipt(v_refund, p_replayed => true);
    end if;
  end if;

  -- act: what is left of the charge
  if v_charge.id is null then
    perform tokenbook.refuse('charge_not_found', '{}');
  elsif v_charge.entry_type <> 'deduction' then
    perform tokenbook.refuse('not_refundable', jsonb_build_object('entry_type', v_charge.entry_type));
  end if;
  v_refundable := v_charge.debt_change - v_charge.tokens - v_charge.refunded; -- @refunded-only-once
  v_wanted := coalesce(p_tokens, v_refundable);
  if v_wanted > v_refundable or v_refundable = 0 then
    perform tokenbook.refuse('refund_exceeds_charge', jsonb_build_object('limit', v_refundable));
  end if;
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_user_id], v_now);
  end if;

  -- act: what was owed for it, by now or repaid meanwhile
  v_of_overdraft := least(v_wanted, greatest(v_charge.debt_change - v_charge.refunded, 0)); -- @overdrafts-come-back-first
  v_paid_left := v_refundable - greatest(v_charge.debt_change - v_charge.refunded, 0);
  v_entry.debt_change := 0;
  if v_of_overdraft > 0 then
    select -least(v_of_overdraft, a.tokens_owed) into v_entry.debt_change -- @refunds-let-off-debt
      from public.token_accounts a where a.user_id = p_user_id;
    if v_of_overdraft > -v_entry.debt_change then
      select g.grant_ids, g.grant_tokens into v_repaid_ids, v_repaid_tokens
        from tokenbook.grants_to_restore(p_user_id, null, v_of_overdraft + v_entry.debt_change, v_now) as g; -- @repaid-overdrafts-go-back
      v_entry.terms := jsonb_build_object('repaid', jsonb_build_object('grant_ids', v_repaid_ids, 'grant_tokens', v_repaid_tokens));
    end if;
  end if;
  v_entry.tokens := v_wanted + v_entry.debt_change;

  -- act: back to the grants that paid, from the end of what they paid
  v_is_one_grant := cardinality(v_charge.grant_ids) = 1 and v_of_overdraft = 0 and (v_charge.expires_at <= v_now) is not true;
  if v_is_one_grant then
    v_entry.grant_ids := v_charge.grant_ids;
    v_entry.grant_tokens := array[v_entry.tokens];
  else
    v_entry.grant_ids := '{}';
    v_entry.grant_tokens := '{}';
    for v_part in
      select p.grant_id, p.tokens, b.grant_type, coalesce(b.expires_at <= v_now, false) as has_expired
        from (
          select u.grant_id, sum(u.tokens)::bigint as tokens, min(u.nth) as nth
            from (
              select r.grant_id, r.tokens, r.nth - cardinality(v_repaid_ids) as nth
                from unnest(v_repaid_ids, v_repaid_tokens) with ordinality as r (grant_id, tokens, nth)
              union all
              select q.grant_id, q.tokens, cardinality(part.grant_ids) + 1 - q.nth
                from tokenbook.slice_allocations(v_charge.grant_ids, v_charge.grant_tokens,
                       v_paid_left - (v_wanted - v_of_overdraft), v_paid_left) as part -- @refunds-from-the-end
               cross join lateral unnest(part.grant_ids, part.grant_tokens) with ordinality as q (grant_id, tokens, nth)) u
           group by u.grant_id) p
        join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
       order by p.nth
    loop
      if v_part.has_expired and p_expired_policy = 'reissue' then
        v_expired_ids := v_expired_ids || v_part.grant_id;
        v_expired_tokens := v_expired_tokens || v_part.tokens;
        v_expired_type := coalesce(v_expired_type, v_part.grant_type);
      else
        v_entry.grant_ids := v_entry.grant_ids || v_part.grant_id;
        v_entry.grant_tokens := v_entry.grant_tokens || v_part.tokens;
      end if;
    end loop;
  end if;
  v_back := tokenbook.return_tokens(p_user_id, v_entry.grant_ids, v_entry.grant_tokens, v_now);
  v_entry.grant_ids := v_back.grant_ids;
  v_entry.grant_tokens := v_back.grant_tokens;
  if v_expired_ids <> '{}' then
    for v_part in -- one for each of what they paid for, as a rule everything, and whose money it was
      select b.pays_for,
             tokenbook.money_of(row(b.*)::public.token_balances) as cost_basis_of, -- @reissued-with-its-money
             sum(e.tokens)::bigint as tokens
        from unnest(v_expired_ids, v_expired_tokens) with ordinality as e (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_user_id and b.id = e.grant_id
       group by 1, 2
       order by min(e.nth)
    loop
      insert into public.token_balances
        (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, pays_for, cost_basis_of, metadata, created_at)
      values
        (p_user_id, v_expired_type, v_part.tokens, v_part.tokens, v_now, v_now + p_lifetime_days * interval '24 hours',
         v_part.pays_for, v_part.cost_basis_of, jsonb_build_object('reissued_for', v_charge.id), v_now)
      returning * into v_new;
      perform tokenbook.bring_due_forward(p_user_id, v_now + p_lifetime_days * interval '24 hours');
      if v_new.pays_for is not null then
        perform tokenbook.note_restricted_grants(p_user_id, v_new.expires_at);
      end if;
      v_entry.grant_ids := v_entry.grant_ids || v_new.id;
      v_entry.grant_tokens := v_entry.grant_tokens || v_part.tokens;
      v_entry.terms := coalesce(v_entry.terms, '{}') || jsonb_build_object(
        'grants', coalesce(v_entry.terms -> 'grants', '[]') || tokenbook.grant_terms(v_new));
    end loop;
  end if;

  -- record
  v_entry.entry_type := 'refund';
  v_entry.action_type := v_charge.action_type;
  v_entry.original_id := v_charge.id;
  v_entry.member_id := v_charge.member_id;
  v_entry.usage_id := v_charge.usage_id;
  v_entry.hold_id := v_charge.hold_id;
  v_entry.created_at := v_now;
  v_refund := tokenbook.record_transaction(
    v_entry, p_taken_at => case when v_charge.reserved_change = 0 then v_charge.created_at end);
  v_remaining := tokenbook.settle_incoming(p_user_id, v_now);
  if v_is_one_grant and v_refund.grant_ids = v_charge.grant_ids then
    return tokenbook.refund_receipt(
      v_refund.id, v_refund.tokens,
      jsonb_build_array(tokenbook.describe_return(v_charge.grant_ids[1], v_charge.grant_type, v_refund.tokens)), '[]',
      v_refundable - v_refund.tokens, v_remaining, p_replayed => false);
  end if;
  return tokenbook.stored_refund_receipt(v_refund, p_replayed => false);
end
$$;
comment on function tokenbook.refund_tokens is
  'Undoes a deduction, in part (p_tokens) or what is left of it, back to the very grants that paid, last taken first; of an overdraft what is still owed is let off, and what has been repaid goes back to the grants that repaid it. For an admin or the server. p_expired_policy for what paid and has run out since: forfeit (it expires at once) or reissue (a new grant that lives p_lifetime_days, 1 to 36500); p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, tokens_refunded, debt_cancelled (so many of them were owed, and no longer are; only where some were), restored: [{grant_id, grant_type, tokens}], forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}. Errors: invalid_amount, invalid_reason, invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found, not_refundable, refund_exceeds_charge, forbidden, busy.';
