-- One row a hold: tokens set aside for a call that is still running.
create table public.token_holds (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'open',
  tokens bigint not null,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  expires_at timestamptz not null,
  action_type text not null,
  actor_role text not null,
  transaction_id bigint not null,
  tokens_captured bigint,
  tokens_uncovered bigint not null default 0,
  capture_id bigint,
  overage_id bigint,
  usage_id uuid,
  member_id uuid,
  parent_id uuid,
  tokens_passed bigint not null default 0,
  children_captured bigint not null default 0,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_holds_pkey primary key (user_id, id),
  constraint token_holds_captured_is_part_of_held check (tokens_captured <= tokens)
) with (fillfactor = 90);

comment on table public.token_holds is
  'Holds: tokens set aside for a call that is still running, and what came of them. Written by the functions only.';
comment on column public.token_holds.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_holds.id is 'The hold; unique per user.';
comment on column public.token_holds.status is 'open; then once and for ever captured, released, or expired (it ran out).';
comment on column public.token_holds.tokens is 'Tokens that it has: set aside, less what it has passed on to its children. What it had, once it is settled.';
comment on column public.token_holds.grant_ids is 'The grants that they were taken from, in burn order; of a child, in the order of its parent.';
comment on column public.token_holds.grant_tokens is 'How much from each.';
comment on column public.token_holds.expires_at is 'The first moment at which it holds nothing any more; at most 24 hours after created_at.';
comment on column public.token_holds.action_type is 'What they were set aside for.';
comment on column public.token_holds.actor_role is 'Who made it: user, admin or service. A user settles no hold that they did not make.';
comment on column public.token_holds.transaction_id is 'Its entry in the ledger; of a child, the hold_split that gave it its first tokens.';
comment on column public.token_holds.tokens_captured is 'Of these, paid; the rest went back. NULL while open.';
comment on column public.token_holds.tokens_uncovered is 'Used beyond the hold and not paid: the capture was capped, or took what there was.';
comment on column public.token_holds.capture_id is 'The ledger entry of the capture.';
comment on column public.token_holds.overage_id is 'The deduction of what was captured beyond the hold.';
comment on column public.token_holds.usage_id is 'The usage that was recorded with the capture.';
comment on column public.token_holds.member_id is 'The member of the user''s team whom it is for; NULL: the user.';
comment on column public.token_holds.parent_id is 'The hold that its tokens are a part of: the budget of a task of many calls. NULL: they came from the grants.';
comment on column public.token_holds.tokens_passed is 'Tokens that its children have of it, or paid; what they did not use and gave back counts no more.';
comment on column public.token_holds.children_captured is 'Tokens that its children paid.';
comment on column public.token_holds.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_holds.created_at is 'Since when.';
comment on column public.token_holds.settled_at is 'When it was captured, released or found to have run out.';

create index token_holds_due_idx on public.token_holds (user_id, expires_at) where status = 'open';
-- how many one spender has: a member's are counted apart from the payer's and from other members'
create index token_holds_spender_idx
  on public.token_holds (user_id, (coalesce(member_id, user_id)), expires_at) where status = 'open';
create index token_holds_member_idx on public.token_holds (member_id, id) where member_id is not null;

alter table public.token_holds enable row level security;
create policy "Users read their own holds" on public.token_holds
  for select to authenticated
  using ((select tokenbook.caller_id()) in (user_id, member_id));

/*
 * The rule that a hold breaks; NULL, none. Asked by the trigger below, which refuses, and by the verifier of every hold
 * there is; as tokenbook.broken_account_rule. What a hold is made of and what becomes of it is of one form
 * (tokenbook.reserve_tokens, tokenbook.settle_hold), so neither is asked.
 * Caller: internal.
 */
create function tokenbook.broken_hold_rule(p_hold public.token_holds)
returns text
language sql
immutable
security invoker
as $$
  select case
    when p_hold.tokens < 0 or p_hold.tokens + p_hold.tokens_passed not between 1 and 1000000000000 then 'tokens_are_within_limits'
    when p_hold.children_captured not between 0 and p_hold.tokens_passed then 'children_pay_what_was_passed'
    when p_hold.parent_id is not null and (p_hold.tokens_passed > 0 or p_hold.parent_id = p_hold.id)
      then 'children_have_no_children'
    when p_hold.expires_at <= p_hold.created_at or p_hold.expires_at > p_hold.created_at + interval '24 hours'
      then 'live_at_most_a_day'
    when p_hold.tokens_captured > p_hold.tokens then 'captured_is_part_of_held'
    when not case p_hold.status
      when 'open' then p_hold.settled_at is null and p_hold.tokens_captured is null
      when 'captured' then p_hold.settled_at is not null and p_hold.tokens_captured >= 0
      when 'released' then p_hold.settled_at is not null and p_hold.tokens_captured = 0
      when 'expired' then p_hold.settled_at >= p_hold.expires_at and p_hold.tokens_captured = 0
      else false
    end then 'are_settled_once'
  end
$$;
comment on function tokenbook.broken_hold_rule is
  'The rule that a hold breaks, NULL when none: 1 to 10^12 tokens with what it has passed on, for at most a day, of which no more is captured, children of one level, and settled once.';

-- Caller: the trigger.   Errors: check_violation, with the broken rule for its constraint.
create function tokenbook.check_hold_rules()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold constant public.token_holds := new; -- on a shard, new has the shard's type
  v_broken_rule constant text := tokenbook.broken_hold_rule(v_hold);
begin
  if v_broken_rule is not null then
    perform tokenbook.refuse_row('token_holds', v_broken_rule, to_jsonb(v_hold));
  end if;
  return null;
end
$$;
comment on function tokenbook.check_hold_rules is
  'Trigger: refuses to make of a hold what breaks a rule. The error names the rule.';

-- nothing changes these, but that a hold passes tokens on to a child
create trigger token_holds_are_sound
  after update of user_id, tokens, parent_id, expires_at, created_at on public.token_holds
  for each row execute function tokenbook.check_hold_rules();
