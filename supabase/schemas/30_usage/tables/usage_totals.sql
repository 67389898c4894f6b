-- What was used, added up by hour and by day, for the reports: of everyone together, and of each user of whom a report
-- had more to add up than one call does. Made of token_usage and archived_usage, and made again from them where it is lost.
create table tokenbook.usage_totals (
  user_id uuid not null,
  span text not null,
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
  constraint usage_totals_pkey primary key (user_id, span, starts_at, action_type, model_used, member_id),
  constraint usage_totals_span_is_known check (span in ('hour', 'day'))
);
comment on table tokenbook.usage_totals is
  'What was used, by hour and by day (UTC), of the uses that tokenbook.usage_marks counts as added up. Derived from token_usage and archived_usage; written by tokenbook.count_usage, read by get_token_usage_by.';
comment on column tokenbook.usage_totals.user_id is 'Whose; all zeros: everyone''s together, without the members.';
comment on column tokenbook.usage_totals.span is 'hour or day.';
comment on column tokenbook.usage_totals.starts_at is 'When that hour or day (UTC) begins.';
comment on column tokenbook.usage_totals.action_type is 'The action.';
comment on column tokenbook.usage_totals.model_used is 'The model; empty where the use named none.';
comment on column tokenbook.usage_totals.member_id is 'The member whose uses they are; all zeros: the user themself.';
comment on column tokenbook.usage_totals.uses is 'How many uses, failed ones among them.';
comment on column tokenbook.usage_totals.failed_uses is 'Of these, those that failed.';
comment on column tokenbook.usage_totals.tokens is 'Tokens that the uses deducted.';
comment on column tokenbook.usage_totals.tokens_uncovered is 'Tokens of them that no grant paid for.';
comment on column tokenbook.usage_totals.input_tokens is 'The prompts'' tokens.';
comment on column tokenbook.usage_totals.output_tokens is 'The answers'' tokens.';
comment on column tokenbook.usage_totals.cached_tokens is 'Of the prompts'' tokens, those that the provider had cached.';
comment on column tokenbook.usage_totals.reasoning_tokens is 'Of the answers'' tokens, those that the model thought with.';
comment on column tokenbook.usage_totals.images is 'Images made.';
comment on column tokenbook.usage_totals.seconds is 'Seconds of audio.';
comment on column tokenbook.usage_totals.cost_cents is 'What the uses cost the project, in cents, failed ones too, as far as it is known.';
comment on column tokenbook.usage_totals.uses_without_cost is 'Uses of which the cost is not known.';
alter table tokenbook.usage_totals enable row level security;
