/*
 * The usual deduction, in as few statements as it can be: the account is free, nothing is due, the
 * oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. NULL for
 * every other case, in which nothing was changed and private.spend does it; both come to the same
 * grants, totals, ledger row and receipt. What it saves: docs/performance.md.
 * The caller has checked who asks and what for.
 * Caller: private.deduct_tokens_with_fifo.   Locks: the account.   Errors: busy.
 * Returns the receipt.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_at_once(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_left bigint;
  v_now timestamptz;
  v_grant record;
begin
  -- lock: the account of whoever pays for himself; of a member, his payer's comes first
  if pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id and a.payer_id is null
       for no key update skip locked;
  elsif private.paying_account(p_user_id) = p_user_id then
    v_account := private.lock_account(p_user_id);
    if v_account.payer_id is not null then -- joined a team while we waited
      perform private.refuse('busy', '{}');
    end if;
  end if;
  v_left := v_account.tokens_remaining - p_tokens;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now
    or v_left < v_account.alert_below
    or v_left >= v_account.alert_above
    or (v_left >= 0) is not true -- or there is no account
  then
    return null;
  end if;

  -- replay
  if p_idempotency_key is not null then
    perform from public.token_transactions t
      where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
    union all
    select from public.token_transactions t -- of the time when he was in a team
      where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
    if found then
      return null;
    end if;
  end if;

  -- act: the oldest grant, if it covers all of it and the order is the usual one
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - p_tokens,
         is_open = b.tokens_remaining > p_tokens
   where b.user_id = p_user_id
     and b.id = (
       select h.id from public.token_balances h
        where h.user_id = p_user_id and h.is_open
        order by h.priority, h.granted_at, h.id limit 1)
     and b.tokens_remaining >= p_tokens
     and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
     and not exists (select from public.default_spend_caps)
     and (select o.burn_order from private.burn_orders o order by o.since desc limit 1) is distinct from 'expiring_first'
     and v_account.alerts_version = coalesce((select v.version from private.alert_rule_versions v), 0)
  returning b.id, b.grant_type, b.granted_at into v_grant;
  if not found then
    return null;
  end if;

  -- record
  if (v_account.spent_at >= date_trunc('day', v_now, 'UTC')) is not true then -- counts begin anew
    v_account.spent_day := 0;
    if (v_account.spent_at >= date_trunc('week', v_now, 'UTC')) is not true then
      v_account.spent_week := 0;
    end if;
    if (v_account.spent_at >= date_trunc('month', v_now, 'UTC')) is not true then
      v_account.spent_month := 0;
    end if;
  end if;
  update public.token_accounts a
     set tokens_remaining = v_left,
         tokens_used = a.tokens_used + p_tokens,
         spent_at = greatest(a.spent_at, v_now),
         spent_day = v_account.spent_day + p_tokens,
         spent_week = v_account.spent_week + p_tokens,
         spent_month = v_account.spent_month + p_tokens,
         last_transaction_id = a.last_transaction_id + 1,
         updated_at = v_now
   where a.user_id = p_user_id;
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
     actor_role, actor_id, idempotency_key, request, metadata, created_at)
  values
    (p_user_id, v_account.last_transaction_id + 1, 'deduction', p_action_type, -p_tokens, v_left,
     array[v_grant.id], array[p_tokens], p_action_type, p_actor_role, p_actor_id, p_idempotency_key,
     case when p_idempotency_key is not null
       then private.deduction_request(p_tokens, p_action_type) end,
     coalesce(p_metadata, '{}'), v_now);
  return private.deduction_receipt(
    p_tokens, v_account.last_transaction_id + 1,
    jsonb_build_array(jsonb_build_object(
      'grant_id', v_grant.id, 'grant_type', v_grant.grant_type, 'granted_at', v_grant.granted_at, 'deducted', p_tokens)),
    0, v_left, false);
end
$$;
comment on function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb) is
  'Makes a deduction that needs nothing but its oldest grant, and returns its receipt; NULL, with nothing changed, when it is not as simple as that.';
revoke all on function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb) from public, anon, authenticated, service_role;
