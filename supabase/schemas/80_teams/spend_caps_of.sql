/*
 * The caps that an account's next spending meets, and how much of each is used: the user's own,
 * their plan's, everyone's; and for a member of their team the member's. Windows are UTC, half-open,
 * weeks ISO. A hold that has run out counts no more, whether it has been released yet or not.
 * Takes the account row, so that a caller that has locked it is answered for the row as locked.
 * Caller: internal.
 */
create function tokenbook.spend_caps_of(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz
)
returns table (scope text, spend_window text, tokens bigint, used bigint, resets_at timestamptz)
language plpgsql
volatile -- a cap that was set while the caller waited for the lock holds
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with caps as (
    select 'user' as scope, c.spend_window, c.tokens
      from public.token_spend_caps c where c.user_id = p_account.user_id
    union all
    select case when d.plan_type is null then 'everyone' else 'plan' end, d.spend_window, d.tokens
      from public.token_default_spend_caps d
     where d.plan_type is null
        or d.plan_type = (
          select s.plan_type from public.token_subscriptions s where s.user_id = p_account.user_id)
    union all
    select 'member', c.spend_window, c.tokens
      from public.token_team_members m
     cross join lateral (
       values ('day', m.cap_day), ('week', m.cap_week), ('month', m.cap_month)) as c (spend_window, tokens)
     where m.user_id = p_account.user_id and m.member_id = p_member_id and c.tokens is not null
  ), spent as (
    select false as is_member, p_account.spent_at as at,
           p_account.spent_day as in_day, p_account.spent_week as in_week, p_account.spent_month as in_month
    union all
    select true, m.spent_at, m.spent_day, m.spent_week, m.spent_month
      from public.token_team_members m where m.user_id = p_account.user_id and m.member_id = p_member_id
  )
  select c.scope, c.spend_window, c.tokens,
         case when s.at >= date_trunc(c.spend_window, p_now, 'UTC') -- @caps-begin-at-midnight
           then case c.spend_window when 'day' then s.in_day when 'week' then s.in_week else s.in_month end
             - coalesce((
                 select sum(h.tokens)
                   from public.token_holds h
                  where p_account.next_due_at <= p_now
                    and h.user_id = p_account.user_id and h.status = 'open' and h.expires_at <= p_now
                    and (h.parent_id is null or not tokenbook.is_parent_open(h.user_id, h.parent_id, p_now))
                    and tokenbook.set_aside_at(row(h.*)::public.token_holds) >= date_trunc(c.spend_window, p_now, 'UTC')
                    and (c.scope <> 'member' or h.member_id = p_member_id)), 0)::bigint
           else 0 end,
         (date_trunc(c.spend_window, p_now at time zone 'utc') + ('1 ' || c.spend_window)::interval) at time zone 'utc'
    from caps c
    join spent s on s.is_member = (c.scope = 'member');
end
$$;
comment on function tokenbook.spend_caps_of is
  'The caps that an account (and a member of its team) is under now: scope (user, plan, everyone, member), window, tokens, used, resets_at.';
