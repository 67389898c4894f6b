-- One row a grant. Many rows a user are right: each is spent, and expires, by itself.
create table public.token_balances (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  grant_type text not null,
  tokens_granted bigint not null,
  tokens_remaining bigint not null,
  priority smallint not null default 50,
  granted_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  -- Beside tokens_remaining, not derived from it: the indexes below look at this flag only, so a
  -- deduction stays a HOT update until the one that empties the grant.
  is_open boolean not null default true,
  payment_id uuid,
  subscription_id uuid,
  period_start timestamptz,
  legacy_transaction_id text,
  voided_at timestamptz,
  rolled_over_from uuid,
  pays_for jsonb,
  cost_basis_cents bigint,
  currency text,
  cost_basis_of uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_balances_pkey primary key (user_id, id),
  constraint token_balances_remaining_is_never_negative check (tokens_remaining >= 0)
) with (fillfactor = 85);

comment on table public.token_balances is
  'Grants: tokens given to a user, each row spent oldest first and expiring by itself. Written by the functions only.';
comment on column public.token_balances.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_balances.id is 'The grant; unique per user.';
comment on column public.token_balances.grant_type is 'What it was given for, and how long it lives when nothing else is said: annual, trial, purchase, … (Lists, in the reference), or one of token_grant_types.';
comment on column public.token_balances.tokens_granted is 'Tokens given, 1 to 10^12. Never changes.';
comment on column public.token_balances.tokens_remaining is 'Tokens left to spend.';
comment on column public.token_balances.priority is '0 to 100, default 50; a lower number is spent first.';
comment on column public.token_balances.granted_at is 'When it counts as given; its place in the queue. Earlier than created_at when the server backdated it.';
comment on column public.token_balances.expires_at is 'The first moment at which it cannot be spent any more; NULL = never. set_token_grant_expiry says it anew.';
comment on column public.token_balances.is_open is 'Whether tokens remain.';
comment on column public.token_balances.payment_id is 'The payment it came from.';
comment on column public.token_balances.subscription_id is 'The subscription it came from.';
comment on column public.token_balances.period_start is 'The period of that subscription; each period is granted once.';
comment on column public.token_balances.legacy_transaction_id is 'The old grant transaction it was made from, by migration.';
comment on column public.token_balances.voided_at is 'When an admin ended it; expires_at is then no later.';
comment on column public.token_balances.rolled_over_from is 'The grant of the closed period that its tokens were carried over from.';
comment on column public.token_balances.pays_for is 'What it pays for, where that is not everything: {actions: [action_type, …], models: [name, or its beginning and *, …]}, either may be left out; NULL = everything. Never changes.';
comment on column public.token_balances.cost_basis_cents is 'What the buyer paid for all of its tokens, in cents of the currency, as grant_tokens was told; 0 = known to be nothing. NULL: said by its payment or cost_basis_of, or nothing was paid. Never changes.';
comment on column public.token_balances.currency is 'ISO 4217, lower case, of cost_basis_cents.';
comment on column public.token_balances.cost_basis_of is 'The payment, or the grant, whose money its tokens are, where it has none of its own: of a slot of a plan that was paid for, of what was carried over, given back or reissued.';
comment on column public.token_balances.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_balances.created_at is 'When it was booked.';

-- the indexes of the burn order are in burn_order.sql
create index token_balances_expiry_idx
  on public.token_balances (user_id, expires_at) where is_open and expires_at is not null;

-- what a user has left of their plan's own tokens, however many others they have
create index token_balances_subscription_idx
  on public.token_balances (user_id, subscription_id) where is_open and subscription_id is not null;

-- a payment grants once, and so does a period, whatever calls come and however often
create unique index token_balances_payment_key
  on public.token_balances (user_id, payment_id) where payment_id is not null;
create unique index token_balances_period_key
  on public.token_balances (user_id, subscription_id, period_start) where period_start is not null;
-- and what a period had left is carried over once
create unique index token_balances_rollover_key
  on public.token_balances (user_id, rolled_over_from) where rolled_over_from is not null;

alter table public.token_balances enable row level security;
create policy "Users read their own grants" on public.token_balances
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);

/*
 * The rule that a grant breaks; NULL, none. Asked by the trigger below, which refuses, and by the verifier of every grant
 * there is; as tokenbook.broken_account_rule.
 * Caller: internal.
 */
create function tokenbook.broken_grant_rule(p_grant public.token_balances)
returns text
language sql
stable
security invoker
as $$
  select case
    when p_grant.tokens_granted not between 1 and (tokenbook.limits() -> 'tokens')::bigint then 'granted_is_within_the_limit'
    when p_grant.tokens_remaining < 0 then 'remaining_is_never_negative'
    when p_grant.tokens_remaining > p_grant.tokens_granted then 'remaining_is_at_most_granted'
    when p_grant.is_open <> (p_grant.tokens_remaining > 0) then 'open_means_tokens_remain'
    when p_grant.priority not between 0 and 100 then 'priority_is_between_0_and_100'
    when p_grant.expires_at <= p_grant.granted_at then 'expires_after_it_was_granted'
    when not isfinite(p_grant.expires_at) then 'expiry_is_finite'
    when p_grant.pays_for is not null and tokenbook.broken_pays_for(p_grant.pays_for) is not null then 'pays_for_is_plain'
    -- few words: each is made ready for every grant. What a currency and an amount may be is grant_tokens' to ask
    when (p_grant.cost_basis_cents < 0) is distinct from (case when p_grant.currency is not null then false end)
      then 'cost_basis_is_cents_of_a_currency'
    when p_grant.cost_basis_of is not null and num_nonnulls(p_grant.cost_basis_cents, p_grant.payment_id) > 0
      then 'cost_basis_is_said_once'
    when p_grant.grant_type is not null and tokenbook.grant_type_terms(p_grant.grant_type) is null then 'grant_type_is_known'
  end
$$;
comment on function tokenbook.broken_grant_rule is
  'The rule that a grant breaks, NULL when none: 1 to 10^12 tokens of a known type and priority, no more left than were given, open while some are, a finite expiry after it was given, and a cost basis that is said once, with its currency.';

-- Caller: the trigger.   Errors: check_violation, with the broken rule for its constraint.
create function tokenbook.check_grant_rules()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant constant public.token_balances := new; -- on a shard, new has the shard's type
  v_broken_rule constant text := tokenbook.broken_grant_rule(v_grant);
begin
  if v_broken_rule is not null then
    perform tokenbook.refuse_row('token_balances', v_broken_rule, to_jsonb(v_grant));
  end if;
  return null;
end
$$;
comment on function tokenbook.check_grant_rules is
  'Trigger: refuses a grant that breaks a rule. The error names the rule.';

-- a spending changes none of these
create trigger token_balances_are_sound
  after insert or update of grant_type, tokens_granted, priority, granted_at, expires_at, cost_basis_cents, currency, cost_basis_of
  on public.token_balances
  for each row execute function tokenbook.check_grant_rules();
