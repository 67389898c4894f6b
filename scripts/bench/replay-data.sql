/*
 * Books of bench.users users with 20 transactions each, written straight into the tables as the
 * functions would have left them: four grants, each followed by four deductions, first in first out.
 * Of every fifth user the first grant runs out with tokens left. Every tenth comes from an old
 * project: two of their grants and eight deductions are older than the books, and their opening balance
 * has those two grants in full, as the simple hotfix leaves them. Rows are written in order of time,
 * as life would: a user's are spread over the whole table.
 */
create temporary table users as
select md5('user ' || n)::uuid as user_id, n % 5 = 0 as loses, n % 10 = 1 as is_old
  from generate_series(1, current_setting('bench.users')::integer) n;

create temporary table grants as
select u.*, r as round, md5(u.user_id || ' grant ' || r)::uuid as id,
       timestamptz '2026-01-01' + r * interval '10 days' as at, r * 1000 as upto,
       case when u.loses and r = 1 then timestamptz '2026-01-16' end as expires_at
  from users u cross join generate_series(1, 4) r;

-- the tokens that ran out are taken like the others, at their place in the queue
create temporary table takes as
select t.user_id, t.is_old, t.round, t.nth, t.tokens, t.at,
       sum(t.tokens) over (partition by t.user_id, t.is_old and t.round < 3 order by t.round, t.nth) as upto
  from (
    select u.*, r as round, k as nth, case when k = 5 then 100 else 225 end as tokens,
           timestamptz '2026-01-01' + r * interval '10 days' + k * interval '1 day' as at
      from users u cross join generate_series(1, 4) r cross join generate_series(1, 5) k
     where k < 5 or (u.loses and r = 1)) t;

-- which grants paid: where the intervals of what was granted and what was taken meet
create temporary table paid as
select t.user_id, t.round, t.nth, g.id as grant_id, g.round as place,
       (least(g.upto, t.upto) - greatest(g.upto - 1000, t.upto - t.tokens))::bigint as tokens
  from takes t
  join grants g on g.user_id = t.user_id and g.upto > t.upto - t.tokens and g.upto - 1000 < t.upto
 where not (t.is_old and t.round < 3);

insert into public.token_balances
  (user_id, id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, is_open, legacy_transaction_id, created_at)
select g.user_id, g.id, 'purchase', 1000, 1000 - coalesce(p.tokens, 0), g.at, g.expires_at, coalesce(p.tokens, 0) < 1000,
       case when g.is_old and g.round < 3 then g.id::text end, g.at
  from grants g
  left join (select p.user_id, p.grant_id, sum(p.tokens) as tokens from paid p group by p.user_id, p.grant_id) p
    on p.user_id = g.user_id and p.grant_id = g.id
 order by g.at;

insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, created_at)
select h.user_id, row_number() over (partition by h.user_id order by h.at) - 10, h.user_id || ' ' || h.at, h.action_type, h.tokens, h.at
  from (
    select g.user_id, 'token_pack_purchase' as action_type, 1000 as tokens, g.at from grants g where g.is_old and g.round < 3
    union all
    select t.user_id, 'chat_conversation', -t.tokens, t.at from takes t where t.is_old and t.round < 3) h
 order by h.at;

insert into public.token_transactions
  (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at, terms)
select l.user_id, row_number() over of_user, l.entry_type, l.action_type, l.tokens, sum(l.tokens) over of_user,
       l.grant_ids, l.grant_tokens, 'bench', 'service', l.at,
       case when l.entry_type in ('opening_balance', 'grant') then (
         select jsonb_build_object('grants', jsonb_agg(tokenbook.grant_terms(b)))
           from public.token_balances b where b.user_id = l.user_id and b.id = any (l.grant_ids)) end
  from (
    select u.user_id, 'opening_balance' as entry_type, 'opening_balance' as action_type, 2000::bigint as tokens,
           array_agg(g.id order by g.round) as grant_ids, array[1000, 1000]::bigint[] as grant_tokens,
           timestamptz '2026-01-30' as at
      from users u join grants g on g.user_id = u.user_id and g.round < 3
     where u.is_old group by u.user_id
    union all
    select g.user_id, 'grant', 'token_pack_purchase', 1000, array[g.id], array[1000], g.at
      from grants g where not (g.is_old and g.round < 3)
    union all
    select t.user_id, case when t.nth = 5 then 'expiry' else 'deduction' end,
           case when t.nth = 5 then 'expiry' else 'chat_conversation' end, -t.tokens, p.grant_ids, p.grant_tokens, t.at
      from takes t
      join (
        select p.user_id, p.round, p.nth, array_agg(p.grant_id order by p.place) as grant_ids,
               array_agg(p.tokens order by p.place) as grant_tokens
          from paid p group by p.user_id, p.round, p.nth) p
        on p.user_id = t.user_id and p.round = t.round and p.nth = t.nth) l
window of_user as (partition by l.user_id order by l.at)
 order by l.at;

insert into public.token_accounts
  (user_id, tokens_remaining, tokens_used, tokens_expired, last_transaction_id, spent_at, spent_day, spent_week, spent_month)
select t.user_id, sum(t.tokens),
       coalesce(-sum(t.tokens) filter (where t.entry_type = 'deduction'), 0),
       coalesce(-sum(t.tokens) filter (where t.entry_type = 'expiry'), 0), max(t.id), max(t.spent_at),
       coalesce(-sum(t.tokens) filter (where t.entry_type = 'deduction' and t.created_at >= date_trunc('day', t.spent_at, 'UTC')), 0),
       coalesce(-sum(t.tokens) filter (where t.entry_type = 'deduction' and t.created_at >= date_trunc('week', t.spent_at, 'UTC')), 0),
       coalesce(-sum(t.tokens) filter (where t.entry_type = 'deduction' and t.created_at >= date_trunc('month', t.spent_at, 'UTC')), 0)
  from (
    select t.*, max(t.created_at) filter (where t.entry_type not in ('opening_balance', 'expiry')) over (partition by t.user_id) as spent_at
      from public.token_transactions t) t
 group by t.user_id;

drop table users, grants, takes, paid;
analyze public.token_accounts, public.token_balances, public.token_transactions, public.token_legacy_transactions;
