/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * Locks: the account, created first where there is none.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_expiry,
 * balance_limit_exceeded.   What depends on the clock is checked after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I10.
 */
create or replace function private.issue_grant(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text,
  p_expires_at timestamptz,
  p_priority integer,
  p_granted_at timestamptz,
  p_action_type text,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_metadata jsonb,
  p_usage_id uuid,
  out transaction public.token_transactions,
  out replayed boolean
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
  v_granted_at timestamptz;
  v_expires_at timestamptz;
  v_grant_id uuid;
begin
  replayed := false;

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, p_actor_role);
    v_account := private.lock_account(p_user_id, p_create => true);
  end if;
  v_now := clock_timestamp();

  -- replay
  if p_idempotency_key is not null then
    transaction := private.find_replay(p_user_id, p_idempotency_key, p_actor_role, p_request, p_metadata);
    if transaction.id is not null then
      replayed := true;
      return;
    end if;
  end if;

  -- act
  v_granted_at := coalesce(p_granted_at, v_now);
  v_expires_at := case
    when p_expires_at is null then v_granted_at + private.grant_lifetime(p_grant_type)
    else nullif(p_expires_at, 'infinity')
  end;
  if v_granted_at > v_now then
    perform private.refuse('invalid_granted_at', '{"field": "p_granted_at", "rule": "not in the future"}');
  end if;
  if v_expires_at <= v_now then
    perform private.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future"}');
  end if;

  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_user_id], v_now);
    v_account := private.lock_account(p_user_id);
  end if;
  if v_account.tokens_remaining + v_account.tokens_reserved + v_account.tokens_used + p_tokens > 9007199254740991 then
    perform private.refuse('balance_limit_exceeded', '{"limit": 9007199254740991}');
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, metadata, created_at)
  values
    (p_user_id, p_grant_type, p_tokens, p_tokens, p_priority, v_granted_at, v_expires_at, p_metadata, v_now)
  returning id into v_grant_id;
  update public.token_accounts a
     set next_due_at = least(a.next_due_at, v_expires_at)
   where a.user_id = p_user_id and v_expires_at < coalesce(a.next_due_at, 'infinity');

  -- record
  transaction := private.book(
    p_user_id, 'grant', p_action_type, p_tokens, array[v_grant_id], array[p_tokens],
    p_reason, p_actor_role, p_actor_id, p_idempotency_key,
    case when p_idempotency_key is not null then p_request end,
    p_metadata, p_usage_id, v_now);
end
$$;
comment on function private.issue_grant(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, text, uuid, text, jsonb, jsonb, uuid) is
  'Gives tokens as one new grant under the account''s lock; the transaction, new or replayed. grant_ids[1] of it is the grant.';
revoke all on function private.issue_grant(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, text, uuid, text, jsonb, jsonb, uuid) from public, anon, authenticated, service_role;
