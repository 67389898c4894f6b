/*
 * Gives tokens to a user as one new grant. A grant by an admin, or of type admin, also writes
 * the token_usage row admin_grant for the audit trail; it counts as no use, and costs nothing.
 * Caller: an admin, service_role (only the latter may backdate).   Locks: the account.
 * p_expires_at left out: the grant type's own lifetime, counted from p_granted_at; 'infinity': never, which
 * a trial, a 28day and an annual grant may not be. p_priority left out: the type's own, of most 50.
 * With p_starts_at it is a grant to come: an entry of 0 tokens says so, list_upcoming_token_grants lists it,
 * void_token_grant calls it off, and at that moment it is a grant like any other (tokenbook.begin_grants).
 * p_cost_basis_cents is what the buyer paid for all of the tokens, in cents of p_currency; left out: they were given away.
 * A trial that is granted so is somebody's decision: the policy is not asked, and it is remembered.
 * Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id,
 * tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_grant_type,
 * invalid_priority, invalid_granted_at, invalid_starts_at, invalid_expiry, invalid_pays_for, invalid_cost_basis, too_many_restricted_grants,
 * too_many_upcoming_grants, invalid_reason, invalid_idempotency_key,
 * invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.
 * Keeps: I2, I3, I5, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text default 'admin',
  p_expires_at timestamptz default null,
  p_priority integer default null,
  p_granted_at timestamptz default null,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null,
  p_pays_for jsonb default null,
  p_starts_at timestamptz default null,
  p_cost_basis_cents bigint default null,
  p_currency text default null
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
  v_grant public.token_balances;
  v_issued record;
  v_transaction public.token_transactions;
  v_type constant jsonb := tokenbook.grant_type_terms(p_grant_type);
begin
  v_entry.actor_role := 'service';
  if not tokenbook.is_plain_server_call(p_user_id) then
    select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  end if;
  if (p_tokens between 1 and 1000000000000) is not true then
    perform tokenbook.check_tokens('p_tokens', p_tokens);
  end if;
  if v_type is null then
    perform tokenbook.refuse('invalid_grant_type', jsonb_build_object(
      'field', 'p_grant_type', 'rule', tokenbook.say_one_of(tokenbook.grant_types())));
  end if;
  if p_priority not between 0 and 100 then
    perform tokenbook.refuse('invalid_priority', '{"field": "p_priority", "rule": "0 to 100"}');
  end if;
  if not isfinite(p_granted_at) or (p_granted_at is not null and v_entry.actor_role <> 'service') then
    perform tokenbook.refuse('invalid_granted_at',
      '{"field": "p_granted_at", "rule": "a finite moment, and only the server may set it"}');
  end if;
  if p_starts_at is not null then
    if p_granted_at is not null or not isfinite(p_starts_at) or p_starts_at > clock_timestamp() + interval '10 years' then
      perform tokenbook.refuse('invalid_starts_at',
        '{"field": "p_starts_at", "rule": "a moment of the next ten years, and left out where p_granted_at is given"}');
    end if;
    v_grant.granted_at := p_starts_at;
  else
    v_grant.granted_at := p_granted_at;
  end if;
  if p_expires_at = '-infinity' or p_expires_at <= v_grant.granted_at then
    perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "later than it was granted"}');
  end if;
  if p_expires_at = 'infinity' and (v_type -> 'must_end')::boolean then
    perform tokenbook.refuse('invalid_expiry', jsonb_build_object(
      'field', 'p_expires_at', 'rule', format('a moment: a grant of type %s ends', p_grant_type)));
  end if;
  if p_pays_for is not null and tokenbook.broken_pays_for(p_pays_for) is not null then
    perform tokenbook.refuse('invalid_pays_for', jsonb_build_object(
      'field', 'p_pays_for', 'rule', tokenbook.broken_pays_for(p_pays_for)));
  end if;
  if p_cost_basis_cents is not null or p_currency is not null then
    if (p_cost_basis_cents between 0 and 1000000000000) is not true then
      perform tokenbook.refuse('invalid_cost_basis',
        '{"field": "p_cost_basis_cents", "rule": "a whole number of cents from 0 to 1000000000000, with p_currency"}');
    elsif (p_currency ~ '^[a-z]{3}$') is not true then -- @cost-basis-has-currency
      perform tokenbook.refuse('invalid_cost_basis',
        '{"field": "p_currency", "rule": "ISO 4217 in lower case, with p_cost_basis_cents"}');
    end if;
  end if;
  if p_idempotency_key is not null or p_reason is not null or p_metadata is not null then
    perform tokenbook.check_request(p_idempotency_key, p_reason, p_metadata);
  end if;

  v_grant.grant_type := p_grant_type;
  v_grant.tokens_granted := p_tokens;
  v_grant.priority := p_priority;
  v_grant.expires_at := p_expires_at;
  v_grant.pays_for := p_pays_for;
  v_grant.cost_basis_cents := p_cost_basis_cents;
  v_grant.currency := p_currency;
  v_grant.metadata := coalesce(p_metadata, '{}');
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  if p_idempotency_key is not null then
    v_entry.request := jsonb_build_object(
      'operation', 'grant', 'tokens', p_tokens, 'grant_type', p_grant_type, 'priority', p_priority,
      'reason', p_reason, 'pays_for', p_pays_for,
      'expires_at', (p_expires_at at time zone 'utc')::text, -- not in the session's time zone
      'granted_at', (p_granted_at at time zone 'utc')::text);
    if p_starts_at is not null then -- what was asked before there were grants to come is asked again as it was
      v_entry.request := v_entry.request || jsonb_build_object('starts_at', (p_starts_at at time zone 'utc')::text);
    end if;
    if p_cost_basis_cents is not null then
      v_entry.request := v_entry.request || jsonb_build_object('cost_basis_cents', p_cost_basis_cents, 'currency', p_currency);
    end if;
  end if;
  v_entry.metadata := v_grant.metadata;
  if (p_grant_type = 'admin' or v_entry.actor_role = 'admin') and p_starts_at is null then
    v_entry.usage_id := gen_random_uuid();
  end if;
  v_issued := tokenbook.issue_grant(v_grant, v_entry, p_begins_later => p_starts_at is not null);
  if v_issued.is_behind then
    return tokenbook.answer_busy();
  end if;
  if p_grant_type = 'trial' and not v_issued.replayed then
    perform tokenbook.remember_trial(p_user_id); -- @granted-trials-remembered
  end if;

  v_transaction := v_issued.transaction;
  if v_entry.usage_id is not null and not v_issued.replayed then
    perform tokenbook.write_admin_usage(v_transaction, 'admin_grant');
  end if;
  v_grant := v_issued.granted;
  return jsonb_build_object(
    'success', true,
    'grant_id', v_grant.id,
    'tokens_granted', v_grant.tokens_granted,
    'grant_type', v_grant.grant_type,
    'granted_at', v_grant.granted_at,
    'expires_at', v_grant.expires_at,
    'pays_for', v_grant.pays_for,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_issued.tokens_remaining, -- @debt-is-repaid-first
    'replayed', v_issued.replayed);
end
$$;
comment on function tokenbook.grant_tokens is
  'Gives tokens to a user as one new grant. For an admin or the server. p_tokens 1 to 10^12; p_grant_type annual, 28day, trial, purchase, admin, … (Lists, with the lifetime of each), or one of token_grant_types; p_expires_at left out: the type''s own lifetime, ''infinity'': never (where must_end of Lists is false); p_priority 0 (spent first) to 100, left out: what token_grant_types says, else 50; p_granted_at in the past, for the server only; p_starts_at in the next ten years: a grant to come, that nothing counts before, whose lifetime and place in the queue are from then on (list_upcoming_token_grants lists it, void_token_grant calls it off; the transaction is one of 0 tokens, upcoming_grant); p_pays_for {actions: [action_type, …], models: [name, or its beginning and *, …]}, either or both: what the grant pays for; left out: what token_grant_types says, else everything; p_cost_basis_cents (0 to 10^12) of p_currency (eur, usd, …): what the buyer paid for all of the tokens, for get_token_revenue and explain_token_charge; left out: they were given away; p_idempotency_key makes a retry safe for ever. A grant by an admin, or of type admin, also writes the token_usage row admin_grant. One of type trial is given whatever set_token_trial_policy says, and is remembered as a trial. Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, pays_for, transaction_id, tokens_remaining, replayed}. Errors: invalid_amount, invalid_grant_type, invalid_priority, invalid_granted_at, invalid_starts_at, invalid_expiry, invalid_pays_for, invalid_cost_basis, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, too_many_restricted_grants, too_many_upcoming_grants, forbidden, busy.';
