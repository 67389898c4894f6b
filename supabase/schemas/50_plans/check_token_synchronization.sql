/*
 * Limit and balance of everyone with an active subscription, the largest difference first:
 * synced, used some, no tokens yet, mismatch (never: the balance above the plan limit), or lost: the
 * user's account is gone while the rest of their books is there. At most p_limit of them, the worst.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.check_token_synchronization(p_limit integer default 10000)
returns table (user_id uuid, email text, plan_type text, tokens_remaining bigint, tokens_limit bigint, difference bigint, status text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select s.user_id, u.email::text, s.plan_type, a.tokens_remaining, s.tokens_limit,
         s.tokens_limit - a.tokens_remaining,
         case
           when a.user_id is null and tokenbook.is_account_lost(s.user_id) then 'lost'
           when a.user_id is null
             or (not exists (select 1 from public.token_balances b where b.user_id = s.user_id)
                 -- a user whose old counter was 0 begins with 0: tokenbook.grant_initial_plan
                 and not exists (
                   select 1 from tokenbook.archived_profile_counters c
                    where c.user_id = s.user_id and c.vibe_assistant_tokens_remaining < 1)) then 'no tokens yet'
           when a.tokens_remaining = s.tokens_limit then 'synced'
           when a.tokens_remaining < s.tokens_limit then 'used some'
           else 'mismatch'
         end
    from public.token_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active
   order by 6 desc nulls first, 1
   limit p_limit;
end
$$;
comment on function tokenbook.check_token_synchronization is
  'Limit and balance of everyone with an active subscription, the largest difference first, at most p_limit (1 to 10000); status synced, used some, no tokens yet, mismatch or lost (the account is gone, the rest of the books is there). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
