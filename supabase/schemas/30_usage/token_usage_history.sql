/*
 * Spending under the names of an older table: one row a deduction.
 */
create view public.token_usage_history
with (security_invoker = true)
as
select t.id, t.user_id, t.metadata ->> 'article_id' as article_id, t.debt_change - t.tokens as tokens_used,
       t.action_type as action, t.created_at
  from public.token_transactions t
 where t.entry_type = 'deduction';
comment on view public.token_usage_history is 'Deductions under older names. Read-only; users see their own.';
comment on column public.token_usage_history.id is 'Number of the transaction among the user''s.';
comment on column public.token_usage_history.user_id is 'The user.';
comment on column public.token_usage_history.article_id is 'The article it was for, when the caller said so in the metadata.';
comment on column public.token_usage_history.tokens_used is 'Tokens, positive.';
comment on column public.token_usage_history.action is 'What they were spent on.';
comment on column public.token_usage_history.created_at is 'When.';
