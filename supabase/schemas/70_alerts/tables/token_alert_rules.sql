-- When to raise an alert, and for whom: for everyone, for a plan, or for one user. Of the rules of one
-- name the closest holds for a user: their own, else their plan's, else everyone's.
create table public.token_alert_rules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid,
  plan_type text references public.token_plans (plan_type),
  rule text not null,
  kind text not null,
  threshold_tokens bigint,
  threshold_percent integer,
  hours integer,
  notify_recovered boolean not null default false,
  is_enabled boolean not null default true,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_alert_rules_key unique nulls not distinct (user_id, plan_type, rule),
  constraint token_alert_rules_concern_a_user_or_a_plan check (num_nonnulls(user_id, plan_type) <= 1),
  constraint token_alert_rules_name_is_plain check (rule ~ '^[a-z][a-z0-9_]{0,63}$' and rule <> 'auto_top_up'),
  constraint token_alert_rules_tokens_are_within_limits check (threshold_tokens between 1 and 1000000000000),
  constraint token_alert_rules_percent_is_one check (threshold_percent between 1 and 100),
  constraint token_alert_rules_hours_are_within_a_year check (hours between 1 and 8760),
  constraint token_alert_rules_say_what_their_kind_needs check (
    case tokenbook.alert_kinds() -> kind ->> 'asks'
      when 'threshold' then num_nonnulls(threshold_tokens, threshold_percent) = 1 and hours is null
      when 'nothing' then num_nonnulls(threshold_tokens, threshold_percent, hours) = 0
      when 'hours' then num_nonnulls(threshold_tokens, threshold_percent) = 0 and hours is not null
      else false
    end
    and (not notify_recovered or (tokenbook.alert_kinds() -> kind -> 'ends')::boolean))
);
comment on table public.token_alert_rules is
  'When to raise an alert, for everyone, a plan or a user; of the rules of one name the closest holds. Written by set_token_alert_rule and remove_token_alert_rule.';
comment on column public.token_alert_rules.id is 'The rule as a row.';
comment on column public.token_alert_rules.user_id is 'The user whom it is for; NULL = not for one alone.';
comment on column public.token_alert_rules.plan_type is 'The plan whose users it is for; NULL = any.';
comment on column public.token_alert_rules.rule is 'Its name: what an alert says, and what one rule replaces another by.';
comment on column public.token_alert_rules.kind is 'dropped (below a threshold), depleted (at 0), expiring_soon (a grant runs out within hours).';
comment on column public.token_alert_rules.threshold_tokens is 'dropped: raised when fewer tokens than this can be spent.';
comment on column public.token_alert_rules.threshold_percent is 'dropped: the same as a share of the plan limit (token_subscriptions.tokens_limit); without a subscription the rule does not apply.';
comment on column public.token_alert_rules.hours is 'expiring_soon: how long before a grant''s expiry.';
comment on column public.token_alert_rules.notify_recovered is 'Whether the end of an alert is an alert too.';
comment on column public.token_alert_rules.is_enabled is 'False: nothing is raised; a user''s or a plan''s own rule mutes the wider one of its name so.';
comment on column public.token_alert_rules.updated_at is 'When it was last set.';

create index token_alert_rules_plan_idx on public.token_alert_rules (plan_type) where plan_type is not null;

alter table public.token_alert_rules enable row level security;
create policy "Users read the rules that may concern them" on public.token_alert_rules
  for select to authenticated
  using (user_id is null or (select tokenbook.caller_id()) = user_id);
