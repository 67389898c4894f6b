/*
 * The subscription of each user as it is now: which plan is in force. Right at every moment, whether anybody has
 * touched the account since or not; what is due is asked of tokenbook.subscription_at, and only of rows that have
 * something due. Reads with its caller's rights: users see their own.
 */
create view public.token_subscriptions
with (security_invoker = true)
as
select s.user_id,
       s.id,
       case when shown.is_active then (shown.kept).plan_type end as plan_type,
       s.tokens_limit,
       case when shown.is_active then (shown.kept).articles_limit else 0 end as articles_limit,
       case when shown.is_active then (shown.kept).features else '{}' end as features,
       (shown.kept).billing_cycle,
       shown.is_active,
       case when (shown.kept).ended_at is not null then 'ended'
            when (shown.kept).paused_at is not null then 'paused'
            when (shown.kept).expires_at <= now() then 'past_due'
            else 'active' end as status,
       (shown.kept).auto_renew and shown.is_active and (shown.kept).cancel_at is null as auto_renew,
       (shown.kept).payment_method,
       (shown.kept).payment_id,
       (shown.kept).period_start,
       (shown.kept).expires_at,
       least(
         tokenbook.plan_ends_at(shown.kept),
         case when (shown.kept).next_plan_type is not null and (tokenbook.plan_after(shown.kept)).plan_type is not null
           then (shown.kept).expires_at end) as in_force_until, -- no grace where another plan begins
       case when shown.is_active then (shown.kept).next_plan_type end as next_plan_type,
       case when shown.is_active then (shown.kept).schedule end as schedule,
       least(
         case when shown.is_active then tokenbook.next_slot_at(shown.kept, now()) end,
         case when not shown.is_active or (shown.kept).beside <> '[]' then (
           select min(tokenbook.next_slot_at(one, now()))
             from tokenbook.plans_of(shown.kept) one
            where one.payment_id is not null and one.taken_back_at is null) end) as next_slot_at,
       (shown.kept).cancel_at,
       s.created_at,
       s.updated_at
  from tokenbook.subscriptions s
 -- of a row of which nothing is due, nothing is asked
 cross join lateral tokenbook.subscription_at(
   case when s.expires_at <= now() or s.cancel_at <= now() or s.paused_at is not null or s.taken_back_at is not null
     or s.beside <> '[]' then row(s.*)::tokenbook.subscriptions end, -- whose ranks may have been changed
   now()) due
 cross join lateral (select case when due.user_id is null then row(s.*)::tokenbook.subscriptions else due end as kept) latest
 cross join lateral (
   select latest.kept, (latest.kept).ended_at is null and (latest.kept).paused_at is null as is_active) shown;
comment on view public.token_subscriptions is
  'The subscription of each user as it is now: which plan is in force, and until when. Read-only; users see their own.';
comment on column public.token_subscriptions.user_id is 'The user.';
comment on column public.token_subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column public.token_subscriptions.plan_type is 'The plan that is in force; NULL = none.';
comment on column public.token_subscriptions.tokens_limit is 'The plan limit: what the balance was last filled up to. Does not move with usage, nor when the plan ends.';
comment on column public.token_subscriptions.articles_limit is 'Articles a period; NULL = no limit; 0 when no plan is in force.';
comment on column public.token_subscriptions.features is 'What else the plan includes; nothing when none is in force.';
comment on column public.token_subscriptions.billing_cycle is 'none, 28day, monthly or annual; of the plan that ended when none is in force, as are the columns below.';
comment on column public.token_subscriptions.is_active is 'Whether a plan is in force.';
comment on column public.token_subscriptions.status is 'active; past_due: in force, but the period is over and nobody has renewed it; paused: not in force until its provider says it goes on; ended: over.';
comment on column public.token_subscriptions.auto_renew is 'Whether somebody has said that they will charge for another period: a subscription at a provider that is not cancelled. False for what was paid once: by hand, by a single order, with change_token_plan.';
comment on column public.token_subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column public.token_subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column public.token_subscriptions.period_start is 'When the present period began.';
comment on column public.token_subscriptions.expires_at is 'Until when it is paid; NULL = it does not end.';
comment on column public.token_subscriptions.in_force_until is 'When it is over if nobody renews it: the end of its days of grace, its cancellation, or the end of the period where a plan follows that begins by itself; NULL = never.';
comment on column public.token_subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column public.token_subscriptions.schedule is 'On which terms it gives tokens while the period lasts: {every (day, week, month), on (anniversary, calendar), tokens (that each slot gives, before a refund in part takes its share of it), refill_to, lifetime_days, grant_type}; NULL = all at once.';
comment on column public.token_subscriptions.next_slot_at is 'When the schedules of their plans give tokens next: of the one in force, and of all that were paid for; NULL = not in what is paid by now.';
comment on column public.token_subscriptions.cancel_at is 'When it ends for good, by the word of its provider; NULL = it is not cancelled.';
comment on column public.token_subscriptions.created_at is 'Since when they have one.';
comment on column public.token_subscriptions.updated_at is 'When the record last changed. A plan that ends by itself is shown as ended before that is recorded.';

create trigger token_subscriptions_refuse_writes
  instead of insert or update or delete on public.token_subscriptions
  for each row execute function tokenbook.refuse_view_write();
