-- One row an AI operation, or an admin's correction: the audit trail.
-- In partitions by time: of one at first, so that a project that grows can have more of them without a pause
-- (npx tokenbook partition --usage, decision 80). So its key has the time in it; what makes an id unique is that it is random.
create table public.token_usage (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  action_type text not null,
  model_used text,
  tokens_used bigint not null default 0,
  input_tokens bigint,
  output_tokens bigint,
  cost_estimate numeric,
  success boolean not null default true,
  error_message text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  cached_tokens bigint,
  reasoning_tokens bigint,
  images integer,
  seconds numeric,
  tokens_uncovered bigint not null default 0,
  transaction_id bigint,
  member_id uuid,
  constraint token_usage_pkey primary key (user_id, id, created_at),
  constraint token_usage_uncovered_is_part_of_used check (tokens_uncovered = 0 or tokens_uncovered between 1 and tokens_used)
) partition by range (created_at);
comment on table public.token_usage is
  'The audit trail: one row for each AI operation, and for each grant or deduction by an admin (admin_grant, admin_deduct). Written by the functions only.';
comment on column public.token_usage.user_id is 'The user. No foreign key: the record outlives the user.';
comment on column public.token_usage.id is 'The usage; unique per user.';
comment on column public.token_usage.action_type is 'What was done: assessment_scoring, vision_generation, vision_refinement, blueprint_generation, chat_conversation, audio_generation, image_generation, life_vision_category_summary, life_vision_master_assembly, prompt_suggestions, frequency_flip, admin_grant, admin_deduct, or one of the project''s own.';
comment on column public.token_usage.model_used is 'The AI model.';
comment on column public.token_usage.tokens_used is 'Tokens that the operation counts for, never negative: deducted when it succeeded, less tokens_uncovered. Of an adjustment the number granted or deducted.';
comment on column public.token_usage.input_tokens is 'Of these, the prompt''s.';
comment on column public.token_usage.output_tokens is 'Of these, the answer''s.';
comment on column public.token_usage.cost_estimate is 'Cost in cents, rounded up to 0.0001; NULL when it is not known.';
comment on column public.token_usage.success is 'Whether the operation succeeded; a failed one is recorded and costs no tokens.';
comment on column public.token_usage.error_message is 'Why it failed.';
comment on column public.token_usage.metadata is 'Anything else about it.';
comment on column public.token_usage.created_at is 'When it happened.';
comment on column public.token_usage.cached_tokens is 'Of the input tokens, those that the provider had cached.';
comment on column public.token_usage.reasoning_tokens is 'Of the output tokens, those that the model thought with.';
comment on column public.token_usage.images is 'Images made.';
comment on column public.token_usage.seconds is 'Seconds of audio.';
comment on column public.token_usage.tokens_uncovered is 'Of the tokens used, those that no grant paid for: the balance did not reach.';
comment on column public.token_usage.transaction_id is 'Its transaction in the ledger; NULL for what happened before the books opened.';
comment on column public.token_usage.member_id is 'The member of the user''s team whose operation it was; NULL: the user.';

create index token_usage_time_idx on public.token_usage (created_at);
create index token_usage_member_idx on public.token_usage (member_id, created_at) where member_id is not null;
create index token_usage_user_idx on public.token_usage (user_id, created_at);

-- whatever the time, there is a partition: the last has no end
create table tokenbook.token_usage_all partition of public.token_usage
  for values from (minvalue) to (maxvalue);
comment on table tokenbook.token_usage_all is 'The only partition of the usage.';
alter table tokenbook.token_usage_all enable row level security; -- without a policy: read token_usage

alter table public.token_usage enable row level security;
create policy "Users read their own usage" on public.token_usage
  for select to authenticated
  using ((select tokenbook.caller_id()) in (user_id, member_id));
