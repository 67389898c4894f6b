-- What a project has chosen for users who had a trial before; without a row they are refused another.
create table tokenbook.chosen_trial_policy (
  is_current boolean primary key default true,
  policy text not null,
  reduced_percent integer,
  reduced_tokens bigint,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_trial_policy_has_one_row check (is_current),
  constraint chosen_trial_policy_is_known check (policy in ('allow', 'refuse', 'reduced')),
  constraint chosen_trial_policy_says_how_much
    check (num_nonnulls(reduced_percent, reduced_tokens) = case policy when 'reduced' then 1 else 0 end),
  constraint chosen_trial_policy_percent_is_a_part check (reduced_percent between 1 and 99),
  constraint chosen_trial_policy_tokens_are_positive check (reduced_tokens > 0)
);
comment on table tokenbook.chosen_trial_policy is
  'What a user who had a trial gets of another, where the project has chosen: without a row nothing. Written by set_token_trial_policy.';
comment on column tokenbook.chosen_trial_policy.is_current is 'Always true: there is one row.';
comment on column tokenbook.chosen_trial_policy.policy is 'allow, refuse or reduced.';
comment on column tokenbook.chosen_trial_policy.reduced_percent is 'Of reduced: so much of what the trial gives, in percent; or reduced_tokens.';
comment on column tokenbook.chosen_trial_policy.reduced_tokens is 'Of reduced: so many tokens, and no more than the trial gives; or reduced_percent.';
comment on column tokenbook.chosen_trial_policy.chosen_at is 'Since when.';
alter table tokenbook.chosen_trial_policy enable row level security;
