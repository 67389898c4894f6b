/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
 *
 * The fast path is here, in as few statements as it can be: the account is free, nothing is
 * due, the oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. Whatever
 * is not so is left to tokenbook.deduct_full_path; both come to the same grants, totals, ledger row and receipt.
 * What it saves: docs/performance.md.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role text := 'service';
  v_actor_id uuid;
  v_account tid; -- where the row is, as long as it is locked
  v_id bigint;
  v_left bigint;
  v_now timestamptz;
  v_request jsonb;
  v_grant_id uuid;
  v_grant_type text;
  v_granted_at timestamptz;
begin
  <<fast_path>> -- left by whatever is not for it, with nothing changed
  begin
    -- validate: what is not plainly right here is looked at, and refused by name, by tokenbook.deduct_full_path
    if current_setting('role') <> 'service_role' then -- @deduction-asks-who: the server may deduct from anyone
      select w.actor_role, w.actor_id into v_actor_role, v_actor_id
        from tokenbook.authorize(p_user_id, p_self_may => true) w;
    else
      perform tokenbook.check_body(); -- @server-sends-one-object
    end if;
    exit fast_path when (p_user_id is not null -- @fast-path-if-plain
      and p_tokens_to_deduct between 1 and 1000000000000
      and p_action_type ~ '^[a-z][a-z0-9_]{0,63}$'
      and p_action_type <> all (tokenbook.reserved_action_types())) is not true;
    if p_idempotency_key is not null or p_metadata is not null then
      perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
    end if;

    -- lock: who has written something may have the row already, and must not stand behind who waits for it
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then -- @fast-path-locks-first
      exit fast_path when pg_current_xact_id_if_assigned() is not null;
      perform tokenbook.queue_for_account(p_user_id);
    end if;
    select a.ctid, a.last_transaction_id + 1, a.tokens_remaining - p_tokens_to_deduct, clock_timestamp()
      into v_account, v_id, v_left, v_now
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.payer_id is null -- @fast-path-own-account: else his payer's is to be locked
       and a.tokens_remaining >= p_tokens_to_deduct
       and a.state = 'active' -- @fast-path-not-frozen
       and (a.next_due_at <= clock_timestamp()
         or a.tokens_remaining - p_tokens_to_deduct < a.alert_below -- @fast-path-tells-nobody
         or a.tokens_remaining - p_tokens_to_deduct >= a.alert_above) is not true
       and a.alerts_version = (
         select r.alerts_version from tokenbook.project_settings r where not r.is_expiring_first)
       and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
       and not exists (select from public.token_default_spend_caps) -- @fast-path-common-caps
       for no key update skip locked;
    exit fast_path when v_id is null;

    -- replay
    if p_idempotency_key is not null then
      perform from public.token_transactions t
        where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
      union all
      select from public.token_transactions t -- of the time when he was in a team
        where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
      exit fast_path when found; -- @fast-replay-after-lock
      v_request := tokenbook.deduction_request(p_tokens_to_deduct, p_action_type);
    end if;

    -- act: the oldest grant, if it covers all of it
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p_tokens_to_deduct,
           is_open = b.tokens_remaining > p_tokens_to_deduct
     where b.user_id = p_user_id
       and b.ctid = (
         select g.grant_ctid from tokenbook.open_grants_fifo(p_user_id, v_now) g limit 1) -- @fast-path-oldest-first
       and b.tokens_remaining >= p_tokens_to_deduct
    returning b.id, b.grant_type, b.granted_at into v_grant_id, v_grant_type, v_granted_at;
    exit fast_path when v_grant_id is null;

    -- record: as tokenbook.record_transaction does it
    update public.token_accounts a
       set tokens_remaining = v_left,
           tokens_used = a.tokens_used + p_tokens_to_deduct,
           spent_at = greatest(a.spent_at, v_now),
           spent_day = case when a.spent_at >= date_trunc('day', v_now, 'UTC') then a.spent_day else 0 end
             + p_tokens_to_deduct, -- @fast-path-counts-day
           spent_week = case when a.spent_at >= date_trunc('week', v_now, 'UTC') then a.spent_week else 0 end
             + p_tokens_to_deduct,
           spent_month = case when a.spent_at >= date_trunc('month', v_now, 'UTC') then a.spent_month else 0 end
             + p_tokens_to_deduct,
           last_transaction_id = v_id,
           updated_at = v_now
     where a.user_id = p_user_id and a.ctid = v_account;
    -- the one copy of tokenbook.append_transactions: to call it here takes a tenth more (decision 34)
    insert into public.token_transactions -- @faults-are-told begin
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now); -- @faults-are-told end
    return tokenbook.deduction_receipt(
      p_tokens_to_deduct, v_id,
      jsonb_build_array(tokenbook.describe_allocation(v_grant_id, v_grant_type, v_granted_at, p_tokens_to_deduct)),
      0, v_left, false);
  end;
  return tokenbook.deduct_full_path(p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function tokenbook.deduct_tokens_with_fifo is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. A member of a team spends from his payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, forbidden, busy.';
