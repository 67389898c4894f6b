-- What a project has chosen for models that have no price; without a row their use is recorded, with a cost that is not
-- known.
create table tokenbook.chosen_model_policy (
  is_current boolean primary key default true,
  policy text not null,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_model_policy_has_one_row check (is_current),
  constraint chosen_model_policy_is_known check (policy in ('record', 'refuse'))
);
comment on table tokenbook.chosen_model_policy is
  'What becomes of the use of a model that has no price, where the project has chosen: without a row it is recorded. Written by set_token_unknown_model_policy.';
comment on column tokenbook.chosen_model_policy.is_current is 'Always true: there is one row.';
comment on column tokenbook.chosen_model_policy.policy is 'record or refuse.';
comment on column tokenbook.chosen_model_policy.chosen_at is 'Since when.';
alter table tokenbook.chosen_model_policy enable row level security;
