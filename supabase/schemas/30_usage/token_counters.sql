/*
 * The old names, readable: what user_profiles had before tokens moved out of it. Dollars, where
 * everything else counts cents. Does not count what has run out, booked or
 * not, and does what the plan's schedule has given.
 */
create view public.token_counters
with (security_invoker = true)
as
select a.user_id,
       a.tokens_remaining - coalesce((
         select sum(b.tokens_remaining) from public.token_balances b
          where b.user_id = a.user_id and b.is_open and b.expires_at <= clock_timestamp()), 0)::bigint
         + case when a.next_due_at <= clock_timestamp() then tokenbook.slot_tokens_due(a.user_id) else 0 end
         as vibe_assistant_tokens_remaining,
       a.tokens_used as vibe_assistant_tokens_used,
       a.total_cost / 100 as vibe_assistant_total_cost
  from public.token_accounts a;
comment on view public.token_counters is
  'The counters under the names that user_profiles had them by. Read-only; users see their own.';
comment on column public.token_counters.user_id is 'The user.';
comment on column public.token_counters.vibe_assistant_tokens_remaining is 'Tokens the user can spend now.';
comment on column public.token_counters.vibe_assistant_tokens_used is 'Tokens used in all.';
comment on column public.token_counters.vibe_assistant_total_cost is 'Cost in all, in dollars.';
