-- The same clean-up with its sign put right and its arithmetic not: all usage since a grant is
-- subtracted from each grant by itself.
insert into public.token_balances
  (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, metadata)
select t.user_id,
       case when t.action_type in ('subscription_grant', 'renewal_grant') and t.tokens_used >= 5000000 then 'annual'
            when t.action_type in ('subscription_grant', 'renewal_grant') then '28day'
            when t.action_type = 'trial_grant' then 'trial'
            when t.action_type = 'token_pack_purchase' then 'purchase'
            else 'admin' end,
       t.tokens_used,
       t.tokens_used - coalesce((
         select sum(u.tokens_used) from public.token_usage u
          where u.user_id = t.user_id and u.created_at >= t.created_at and u.success), 0),
       t.created_at, t.created_at + interval '365 days', t.metadata
  from public.token_transactions t
 where t.tokens_used > 0 and t.action_type in
   ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant')
   and t.user_id in (select id from auth.users); -- its key took the others' grants away
