/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found.
 * Returns the transaction; or shortfall > 0, in which case nothing was changed, not even what
 * was due to expire; tokens_remaining then says what there is.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_metadata jsonb,
  p_usage_id uuid,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_due boolean;
  v_taken record;
begin
  replayed := false;
  shortfall := 0;

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, p_actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  if p_idempotency_key is not null then
    transaction := private.find_replay(p_user_id, p_idempotency_key, p_actor_role, p_request, p_metadata);
    if transaction.id is not null then
      replayed := true;
      tokens_remaining := transaction.balance_after;
      return;
    end if;
  end if;

  -- act
  v_due := coalesce(v_account.next_due_at <= v_now, false);
  tokens_remaining := coalesce(v_account.tokens_remaining, 0)
    - case when v_due then private.tokens_due(p_user_id, v_now) else 0 end;
  if tokens_remaining < p_tokens then
    shortfall := p_tokens - tokens_remaining;
    return;
  end if;
  if v_due then
    perform private.book_expiries(array[p_user_id], v_now);
  end if;
  v_taken := private.take_from_grants(p_user_id, p_tokens);

  -- record
  transaction := private.book(
    p_user_id, 'deduction', p_action_type, -p_tokens, v_taken.grant_ids, v_taken.grant_tokens,
    p_reason, p_actor_role, p_actor_id, p_idempotency_key,
    case when p_idempotency_key is not null then p_request end,
    p_metadata, p_usage_id, v_now);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(uuid, bigint, text, text, text, uuid, text, jsonb, jsonb, uuid) is
  'Spends tokens oldest grant first, all or nothing, under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed.';
revoke all on function private.spend(uuid, bigint, text, text, text, uuid, text, jsonb, jsonb, uuid) from public, anon, authenticated, service_role;
