-- What was used by uses that stand in a file now (npx tokenbook archive): what reports and the verifier need of them.
create table tokenbook.archived_usage (
  user_id uuid not null,
  starts_at timestamptz not null,
  action_type text not null,
  model_used text not null,
  member_id uuid not null,
  uses bigint not null,
  failed_uses bigint not null,
  tokens bigint not null,
  tokens_uncovered bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  cached_tokens bigint not null,
  reasoning_tokens bigint not null,
  images bigint not null,
  seconds numeric not null,
  cost_cents numeric not null,
  uses_without_cost bigint not null,
  charged_cents numeric not null,
  constraint archived_usage_pkey primary key (user_id, starts_at, action_type, model_used, member_id)
);
comment on table tokenbook.archived_usage is
  'What was used by uses that stand in an archive''s file, by hour (UTC). Written by tokenbook.archive_uses and restore_uses, read by reports and by the verifier.';
comment on column tokenbook.archived_usage.user_id is 'Whose account it was used from. No foreign key: the record outlives the user.';
comment on column tokenbook.archived_usage.starts_at is 'When that hour (UTC) begins.';
comment on column tokenbook.archived_usage.action_type is 'The action.';
comment on column tokenbook.archived_usage.model_used is 'The model; empty where the use named none.';
comment on column tokenbook.archived_usage.member_id is 'The member whose uses they are; all zeros: the user themself.';
comment on column tokenbook.archived_usage.uses is 'How many uses, failed ones among them.';
comment on column tokenbook.archived_usage.failed_uses is 'Of these, those that failed.';
comment on column tokenbook.archived_usage.tokens is 'Tokens that the uses deducted.';
comment on column tokenbook.archived_usage.tokens_uncovered is 'Tokens of them that no grant paid for.';
comment on column tokenbook.archived_usage.input_tokens is 'The prompts'' tokens.';
comment on column tokenbook.archived_usage.output_tokens is 'The answers'' tokens.';
comment on column tokenbook.archived_usage.cached_tokens is 'Of the prompts'' tokens, those that the provider had cached.';
comment on column tokenbook.archived_usage.reasoning_tokens is 'Of the answers'' tokens, those that the model thought with.';
comment on column tokenbook.archived_usage.images is 'Images made.';
comment on column tokenbook.archived_usage.seconds is 'Seconds of audio.';
comment on column tokenbook.archived_usage.cost_cents is 'What the uses cost the project, in cents, failed ones too, as far as it is known.';
comment on column tokenbook.archived_usage.uses_without_cost is 'Uses of which the cost is not known.';
comment on column tokenbook.archived_usage.charged_cents is 'Of the cost, that of the uses that succeeded: what the account''s total has.';

create index archived_usage_time_idx on tokenbook.archived_usage (starts_at);
create index archived_usage_member_idx on tokenbook.archived_usage (member_id, starts_at)
  where member_id <> '00000000-0000-0000-0000-000000000000';
alter table tokenbook.archived_usage enable row level security;
