-- One row a user: the lock that every change of their books takes first, and the only running
-- totals. A client that shows a live balance subscribes to this row.
-- Which function changes which columns, each under the row's lock:
--   tokens_remaining, last_transaction_id  spend_tokens, record_transaction, record_expiries,
--                                          spend_tokens_batch: with the ledger row
--   tokens_used, spent_…                   the same without record_expiries
--   tokens_reserved, total_cost            spend_tokens, record_transaction
--   tokens_owed                            spend_tokens, record_transaction
--   tokens_expired                         record_expiries, and roll_over where it takes an expiry back
--   next_due_at                            spend_tokens, bring_due_forward, record_expiries, raise_alerts
--   alert_…, next_alert_at, warns_of_expiry, alerts_version, last_alert_id  raise_alerts
--   has_caps                               note_spend_caps
--   restricted_until                       note_restricted_grants, decide_spending
--   payer_id                               add_token_team_member, remove_token_team_member
--   was_member                             add_token_team_member
--   state                                  set_token_account_state, begin_move, mark_moved, take_move_back, end_arrival, open_arrival
--   overdraft_limit                        set_token_overdraft
create table public.token_accounts (
  user_id uuid primary key,
  tokens_remaining bigint not null default 0,
  tokens_reserved bigint not null default 0,
  tokens_used bigint not null default 0,
  tokens_expired bigint not null default 0,
  tokens_owed bigint not null default 0,
  total_cost numeric not null default 0,
  last_transaction_id bigint not null default 0,
  next_due_at timestamptz,
  spent_at timestamptz,
  spent_day bigint not null default 0,
  spent_week bigint not null default 0,
  spent_month bigint not null default 0,
  payer_id uuid,
  was_member boolean not null default false,
  has_caps boolean not null default false,
  restricted_until timestamptz,
  state text not null default 'active',
  overdraft_limit bigint,
  alert_below bigint,
  alert_above bigint,
  next_alert_at timestamptz,
  warns_of_expiry boolean not null default false,
  alerts_version bigint default 0,
  last_alert_id bigint not null default 0,
  updated_at timestamptz not null default now(),
  constraint token_accounts_remaining_is_never_negative check (tokens_remaining >= 0)
) with (fillfactor = 80); -- room for HOT updates: this row changes with every transaction

comment on table public.token_accounts is
  'A user''s running totals, and the row that every change of their books locks first. Equal to their grants and their ledger at every commit. Written by the functions only.';
comment on column public.token_accounts.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_accounts.tokens_remaining is 'Tokens the user can spend: the sum over their grants. A grant that has expired and is not booked yet is still in it until next_due_at is acted on; get_user_token_balance never counts it.';
comment on column public.token_accounts.tokens_reserved is 'Tokens set aside by open holds.';
comment on column public.token_accounts.tokens_used is 'Tokens used in all; an admin''s corrections are not use.';
comment on column public.token_accounts.tokens_expired is 'Tokens lost to expiry since the books opened.';
comment on column public.token_accounts.tokens_owed is 'Debt: tokens that were to be taken back and had been spent, and those that an overdraft let them use. The next grant repays it first.';
comment on column public.token_accounts.total_cost is 'Cost of all usage, in cents.';
comment on column public.token_accounts.last_transaction_id is 'Number of the newest transaction; numbers have no gaps.';
comment on column public.token_accounts.spent_at is 'In which day, week and month (UTC) the next three were counted; in a later one they count for nothing.';
comment on column public.token_accounts.spent_day is 'Tokens spent or set aside in that day, less what came back of them: what a cap looks at.';
comment on column public.token_accounts.spent_week is 'In that week (ISO, from Monday).';
comment on column public.token_accounts.spent_month is 'In that month.';
comment on column public.token_accounts.payer_id is 'The account that the user spends from while they are in a team; NULL: their own.';
comment on column public.token_accounts.was_member is 'Whether the user is in a team, or ever was: their keys may be in a payer''s ledger.';
comment on column public.token_accounts.has_caps is 'Whether they have caps of their own (token_spend_caps).';
comment on column public.token_accounts.restricted_until is 'Until when they have grants that do not pay for everything (token_balances.pays_for), as was said of each; NULL = all pay for everything.';
comment on column public.token_accounts.state is 'active, or frozen: nothing is spent, held or topped up (set_token_account_state). While tokenbook move has the books: moving (to another project), moved (there), arriving (from there); then no call reads or changes them here.';
comment on column public.token_accounts.overdraft_limit is 'How many tokens they may owe by using more than they have, whatever their plan says (set_token_overdraft). NULL: what their plan allows.';
comment on column public.token_accounts.next_due_at is 'Nothing changes by itself before this moment: no grant or hold of the user runs out, no grant to come and no slot of their plan begins, their plan does not end, and no alert falls due. NULL when nothing will, and while the books are not here (state). May be early, never late.';
comment on column public.token_accounts.alert_below is 'The next threshold below: an alert, or a top-up, is looked for when fewer tokens than this remain. NULL = none.';
comment on column public.token_accounts.alert_above is 'The next threshold above: something is armed again when this many remain. NULL = none.';
comment on column public.token_accounts.next_alert_at is 'When the next alert falls due by time alone: a warning of an expiry, or the end of a cooldown. NULL = none.';
comment on column public.token_accounts.warns_of_expiry is 'Whether a rule wants to know of grants that run out.';
comment on column public.token_accounts.alerts_version is 'Of which rules these thresholds are; other than that of tokenbook.project_settings (-1 after a move): unknown, and set anew by the next call that touches the account. NULL says at a glance that the books are not here (state).';
comment on column public.token_accounts.last_alert_id is 'Number of the newest alert (token_alerts); a client that watches this row sees it in the commit that raises it.';
comment on column public.token_accounts.updated_at is 'When the row last changed.';

create index token_accounts_due_idx on public.token_accounts (next_due_at)
  where next_due_at is not null;
create index token_accounts_alerts_version_idx on public.token_accounts (alerts_version);

alter table public.token_accounts enable row level security;
create policy "Users read their own account" on public.token_accounts
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);

/*
 * The rule that an account breaks; NULL, none. Asked by the trigger below, which refuses, and by the verifier of every
 * account there is: of the totals it knows what they are to be, too. A CHECK costs each statement that writes the table
 * (decision 26), so the table has one, of the total that is spent from.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: internal.
 */
create function tokenbook.broken_account_rule(p_account public.token_accounts)
returns text
language sql
immutable
security invoker
as $$
  select case
    when p_account.payer_id = p_account.user_id then 'are_not_their_own_payers'
    when p_account.state not in ('active', 'frozen', 'moving', 'moved', 'arriving') then 'state_is_known'
    when p_account.overdraft_limit not between 0 and 1000000000000 then 'overdraft_is_within_limits'
    when p_account.tokens_remaining < 0 then 'remaining_is_never_negative'
    when p_account.tokens_reserved < 0 then 'reserved_is_never_negative'
    when p_account.tokens_used < 0 then 'used_is_never_negative'
    when p_account.tokens_expired < 0 then 'expired_is_never_negative'
    when p_account.tokens_owed < 0 then 'owed_is_never_negative'
    -- 2^53 - 1, the largest integer of JSON
    when p_account.tokens_remaining + p_account.tokens_reserved + p_account.tokens_used > 9007199254740991 then 'totals_stay_exact_in_json'
  end
$$;
comment on function tokenbook.broken_account_rule is
  'The rule that an account breaks, NULL when none: nobody their own payer, a known state, an overdraft within limits, no total below zero, none too large for JSON.';

-- Caller: the trigger.   Errors: check_violation, with the broken rule for its constraint.
create function tokenbook.check_account_rules()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account constant public.token_accounts := new; -- on a shard, new has the shard's type
  v_broken_rule constant text := tokenbook.broken_account_rule(v_account);
begin
  if v_broken_rule is not null then
    perform tokenbook.refuse_row('token_accounts', v_broken_rule, to_jsonb(v_account));
  end if;
  return null;
end
$$;
comment on function tokenbook.check_account_rules is
  'Trigger: refuses an account that breaks a rule. The error names the rule.';

-- no transaction changes any of these
create trigger token_accounts_are_sound
  after insert or update of user_id, payer_id, state, overdraft_limit on public.token_accounts
  for each row execute function tokenbook.check_account_rules();
