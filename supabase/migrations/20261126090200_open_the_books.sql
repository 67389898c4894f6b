/*
 * What is this project's own, once the tables are there: its catalogue, the opening balances of
 * everyone from before the books, and its older names as views. A project that installs Tokenbook
 * gets none of this: nothing happens to its users, and its catalogue is its own to fill.
 */

-- The catalogue: plans and costs to start from, with a default plan that new users get -----------

insert into public.token_plans
  (plan_type, name, tokens, articles_limit, storage_gb, price_cents, billing_cycle, grant_type,
   grant_lifetime_days, rank, is_default, given_to_users_since)
values -- here everyone who never had a grant is to have the default plan
  ('free', 'Free', 10000, 2, 0, 0, 'none', 'plan', null, 0, true, '-infinity'),
  ('trial', 'Trial', 100000, 5, 25, 0, 'none', 'trial', 56, 5, false, '-infinity'),
  ('starter', 'Starter', 400000, 20, 0, 900, 'monthly', 'plan', null, 10, false, '-infinity'),
  ('28day', '28-day membership', 600000, 30, 25, 1900, '28day', '28day', 90, 15, false, '-infinity'),
  ('grow', 'Grow', 1000000, 60, 0, 1900, 'monthly', 'plan', null, 20, false, '-infinity'),
  ('professional', 'Professional', 2000000, 200, 0, 3900, 'monthly', 'plan', null, 30, false, '-infinity'),
  ('annual', 'Annual membership', 5000000, null, 100, 19900, 'annual', 'annual', 365, 40, false, '-infinity')
on conflict do nothing;

insert into public.token_action_costs (action_type, min_tokens, max_tokens)
values ('seo_title', 300, 300), ('rewrite', 500, 2000)
on conflict do nothing;

-- Copy what was there, and open the books --------------------------------------------------------

do $$
declare
  c_migration constant text := '20261126090200_open_the_books';
  v_grants_left_out bigint;
  v_grants_changed bigint;
  v_accounts bigint;
  v_tokens numeric;
  v_functions text;
begin
  -- Grants. What no grant can be is left out, what is out of range is put right; copies of both are kept.
  create temporary table grants_to_copy on commit drop as
  select r.user_id, r.id, r.grant_type, r.tokens_granted, r.tokens_remaining,
         coalesce(r.granted_at, r.created_at, now()) as granted_at,
         nullif(r.expires_at, 'infinity') as expires_at,
         r.subscription_id, r.legacy_transaction_id,
         case when jsonb_typeof(r.metadata) = 'object' then r.metadata else '{}' end as metadata,
         coalesce(r.created_at, r.granted_at, now()) as created_at,
         to_jsonb(o) as grant_row,
         case
           when r.user_id is null then 'no user'
           when r.tokens_granted is null or r.tokens_granted not between 1 and 1000000000000 then 'an impossible amount'
           when nullif(r.expires_at, 'infinity') <= coalesce(r.granted_at, r.created_at, now()) then 'expired before it was granted'
         end as left_out_because,
         case
           when r.tokens_remaining is null or r.tokens_remaining not between 0 and r.tokens_granted then 'an impossible balance'
           when (tokenbook.grant_types() ? r.grant_type) is not true then 'an unknown type'
         end as changed_because
    from tokenbook.old_token_balances o
   cross join lateral jsonb_populate_record(null::public.token_balances, to_jsonb(o)) r;

  insert into tokenbook.cleared_token_balances (user_id, grant_row, why)
  select coalesce(g.user_id, '00000000-0000-0000-0000-000000000000'), g.grant_row,
         case when g.left_out_because is not null then 'left out when the books opened: ' || g.left_out_because
              else 'put right when the books opened: ' || g.changed_because end
    from pg_temp.grants_to_copy g
   where g.left_out_because is not null or g.changed_because is not null;

  insert into public.token_balances
    (user_id, id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, is_open,
     subscription_id, legacy_transaction_id, metadata, created_at)
  select g.user_id, g.id,
         case when tokenbook.grant_types() ? g.grant_type then g.grant_type else 'admin' end,
         g.tokens_granted, r.tokens_remaining, g.granted_at, g.expires_at, r.tokens_remaining > 0,
         g.subscription_id, g.legacy_transaction_id, g.metadata, g.created_at
    from pg_temp.grants_to_copy g
   cross join lateral (
     select least(greatest(coalesce(g.tokens_remaining, 0), 0), g.tokens_granted) as tokens_remaining) r
   where g.left_out_because is null;

  select count(*) filter (where g.left_out_because is not null),
         count(*) filter (where g.left_out_because is null and g.changed_because is not null)
    into v_grants_left_out, v_grants_changed
    from pg_temp.grants_to_copy g;

  -- Usage, old transactions, storage: all rows that name a user.
  insert into public.token_usage
    (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
     success, error_message, metadata, created_at)
  select r.user_id, coalesce(r.id, gen_random_uuid()), coalesce(r.action_type, 'unknown'), r.model_used,
         coalesce(r.tokens_used, 0), r.input_tokens, r.output_tokens, r.cost_estimate,
         coalesce(r.success, true), r.error_message, coalesce(r.metadata, '{}'), coalesce(r.created_at, now())
    from tokenbook.old_token_usage o
   cross join lateral jsonb_populate_record(null::public.token_usage, to_jsonb(o)) r
   where r.user_id is not null;

  insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, metadata, created_at)
  select o.user_id,
         1 - row_number() over (partition by o.user_id order by o.created_at desc, o.id desc),
         o.id::text, coalesce(o.action_type, 'unknown'), coalesce(o.tokens_used, 0),
         jsonb_strip_nulls(to_jsonb(o) - array['user_id', 'id', 'action_type', 'tokens_used', 'created_at']),
         coalesce(o.created_at, '-infinity')
    from tokenbook.old_token_transactions o
   where o.user_id is not null;

  insert into public.token_storage_quotas (user_id, id, quota_gb, granted_at, subscription_id, metadata, created_at)
  select r.user_id, r.id, r.quota_gb, coalesce(r.granted_at, r.created_at, now()), r.subscription_id,
         coalesce(r.metadata, '{}'), coalesce(r.created_at, now())
    from tokenbook.old_user_storage o
   cross join lateral jsonb_populate_record(null::public.token_storage_quotas, to_jsonb(o)) r
   where r.user_id is not null and r.quota_gb > 0;

  -- One account and one opening balance for each user that anything is known of. Lifetime use comes
  -- from the audit trail; from the old counter where there is no trail, and where the counter became the
  -- grant and has more: an app may have counted before it recorded.
  insert into public.token_accounts
    (user_id, tokens_remaining, tokens_used, total_cost, last_transaction_id, next_due_at)
  select u.user_id,
         coalesce(g.tokens_remaining, 0),
         greatest(coalesce(case when g.is_counter then greatest(s.tokens_used, c.tokens_used) else s.tokens_used end,
                           c.tokens_used, 0), 0),
         coalesce(s.total_cost, c.total_cost, 0),
         1, g.next_due_at
    from (
      select b.user_id from public.token_balances b
      union select t.user_id from public.token_usage t
      union select a.user_id from tokenbook.archived_profile_counters a
    ) u
    left join (
      select b.user_id, sum(b.tokens_remaining) as tokens_remaining,
             min(b.expires_at) filter (where b.is_open) as next_due_at,
             bool_or(b.metadata ->> 'source' = 'user_profiles') as is_counter
        from public.token_balances b group by b.user_id
    ) g on g.user_id = u.user_id
    left join (
      select t.user_id, sum(t.tokens_used) as tokens_used, sum(coalesce(t.cost_estimate, 0)) as total_cost
        from public.token_usage t
       where t.success
         and t.action_type <> all (tokenbook.recorded_grant_actions() || 'admin_deduct'::text)
       group by t.user_id
    ) s on s.user_id = u.user_id
    left join (
      select a.user_id, least(floor(coalesce(max(a.vibe_assistant_tokens_used), 0)), 1000000000000)::bigint as tokens_used,
             max(a.vibe_assistant_total_cost) * 100 as total_cost
        from tokenbook.archived_profile_counters a group by a.user_id
    ) c on c.user_id = u.user_id;

  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
     reason, actor_role, metadata, terms)
  select a.user_id, 1, 'opening_balance', 'opening_balance', a.tokens_remaining, a.tokens_remaining,
         coalesce(g.grant_ids, '{}'), coalesce(g.grant_tokens, '{}'), 'the books open', 'system',
         jsonb_build_object('tokens_used', a.tokens_used, 'total_cost', a.total_cost),
         jsonb_build_object('grants', coalesce((
           select jsonb_agg(tokenbook.grant_terms(b) order by b.id) from public.token_balances b where b.user_id = a.user_id), '[]'))
    from public.token_accounts a
    left join (
      select b.user_id,
             array_agg(b.id order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)) as grant_ids,
             array_agg(b.tokens_remaining order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)) as grant_tokens
        from public.token_balances b where b.is_open group by b.user_id
    ) g on g.user_id = a.user_id;

  -- Who had a trial has had one.
  perform tokenbook.remember_trial(b.user_id)
     from (select distinct g.user_id from public.token_balances g where g.grant_type = 'trial') b;

  -- Count before believing.
  if (select count(*) from tokenbook.old_token_balances)
     <> (select count(*) from public.token_balances) + v_grants_left_out
    or (select count(*) from tokenbook.old_token_usage o where o.user_id is not null)
     <> (select count(*) from public.token_usage)
    or (select count(*) from tokenbook.old_token_transactions o where o.user_id is not null)
     <> (select count(*) from public.token_legacy_transactions)
  then
    raise exception 'not every row was copied; nothing was changed';
  end if;
  if exists (
    select from public.token_accounts a
     where a.tokens_remaining <> (select t.tokens from public.token_transactions t where t.user_id = a.user_id)
        or a.tokens_remaining <> (select coalesce(sum(b.tokens_remaining), 0) from public.token_balances b where b.user_id = a.user_id))
  then
    raise exception 'an opening balance differs from its grants; nothing was changed';
  end if;

  select count(*), coalesce(sum(a.tokens_remaining), 0) into v_accounts, v_tokens from public.token_accounts a;
  -- a function that runs as its owner writes past the ledger, and no privilege stops it
  select string_agg(p.oid::regprocedure::text, ', ' order by p.oid::regprocedure::text) into v_functions
    from pg_proc p
   where p.pronamespace = 'public'::regnamespace
     and p.proname not in ('deduct_tokens_with_fifo', 'get_user_token_balance', 'grant_tokens', 'adjust_tokens',
                           'get_token_history', 'expire_old_token_grants', 'get_user_storage_quota')
     and p.prosrc ~* '\m(token_balances|token_transactions|token_usage|user_storage|vibe_assistant_)';

  perform tokenbook.report(c_migration, concat_ws(E'\n',
    'The books are open:',
    format('  - %s accounts with %s tokens in %s grants', v_accounts, v_tokens,
      (select count(*) from public.token_balances b where b.is_open)),
    format('  - %s old transactions kept as history, %s usage records',
      (select count(*) from public.token_legacy_transactions), (select count(*) from public.token_usage)),
    case when v_grants_changed > 0 then format('  - Put right %s grants out of range, copies in tokenbook.cleared_token_balances', v_grants_changed) end,
    case when v_grants_left_out > 0 then format('  - Left out %s grants that no rule can hold, copies in tokenbook.cleared_token_balances', v_grants_left_out) end,
    case when v_functions is not null then format('  - Functions of yours that use the old tables or columns; change them to call the functions: %s', v_functions) end));

  drop table pg_temp.grants_to_copy;
end
$$;

-- Plans: subscriptions that there were, and the default plan for everyone else ----------------

do $$
declare
  v_copied bigint := 0;
  v_given bigint := 0;
  v_placed bigint;
  v_user record;
begin
  if to_regclass('public.user_subscriptions') is not null then
    execute $copy$
      insert into tokenbook.subscriptions
        (user_id, plan_type, tokens_limit, articles_limit, features, billing_cycle, auto_renew,
         payment_method, payment_id, period_start, expires_at, grace_days, created_at)
      select r.user_id, p.plan_type, coalesce(r.tokens_limit, p.tokens), coalesce(r.articles_limit, p.articles_limit),
             case when jsonb_typeof(r.features) = 'object' then r.features else p.features end, p.billing_cycle,
             coalesce(r.auto_renew, p.billing_cycle <> 'none' and p.grant_type <> 'trial'), r.payment_method, r.payment_id,
             case when r.is_active is false then least(r.created_at, now() - interval '1 second') else coalesce(r.created_at, now()) end,
             case when r.is_active is false then now() -- one that was stopped is over
                  when r.expires_at > coalesce(r.created_at, now()) then r.expires_at
                  when p.grant_type = 'trial' then greatest( -- ends with its tokens
                    tokenbook.period_end(p, coalesce(r.created_at, now())),
                    (select max(b.expires_at) from public.token_balances b where b.user_id = r.user_id and b.grant_type = 'trial')) end,
             case when r.is_active is false then 0 else tokenbook.grace_of(p) end, coalesce(r.created_at, now())
        from public.user_subscriptions o
       cross join lateral jsonb_populate_record(null::public.token_subscriptions, to_jsonb(o) - 'id') r
        join public.token_plans p on p.plan_type = r.plan_type
       where r.user_id is not null
    $copy$;
    get diagnostics v_copied = row_count;
  end if;

  -- when they end is due
  update public.token_accounts a
     set next_due_at = least(a.next_due_at, d.at)
    from (select s.user_id, tokenbook.plan_due_at(s.user_id) as at from tokenbook.subscriptions s) d
   where d.user_id = a.user_id and d.at is not null;

  -- who has grants, or had a counter that says 0, is put on the default plan; their balance becomes the plan limit
  insert into tokenbook.subscriptions
    (user_id, plan_type, tokens_limit, articles_limit, features, billing_cycle, expires_at)
  select u.id, p.plan_type, a.tokens_remaining, p.articles_limit, p.features, p.billing_cycle,
         case when p.grant_type = 'trial' then tokenbook.period_end(p, now()) end
    from auth.users u
    join public.token_accounts a on a.user_id = u.id
    join public.token_plans p on p.is_default
   where exists (select from public.token_balances b where b.user_id = u.id)
      or exists (select from tokenbook.archived_profile_counters c where c.user_id = u.id and c.vibe_assistant_tokens_remaining < 1)
  on conflict do nothing;
  get diagnostics v_placed = row_count;

  -- who never had one gets their plan's tokens
  for v_user in
    select u.id from auth.users u
     where not exists (select from public.token_balances b where b.user_id = u.id)
       and not exists (select from tokenbook.archived_profile_counters c where c.user_id = u.id and c.vibe_assistant_tokens_remaining < 1)
     order by u.id
  loop
    perform tokenbook.grant_initial_plan(v_user.id);
    v_given := v_given + 1;
  end loop;
  -- the balance is never above the plan limit
  update tokenbook.subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where a.user_id = s.user_id and a.tokens_remaining > s.tokens_limit;

  if exists (
    select from auth.users u
     where exists (select from public.token_plans p where p.is_default)
       and not exists (select from public.token_subscriptions s where s.user_id = u.id))
  then
    raise exception 'a user was left without a plan; nothing was changed';
  end if;
  perform tokenbook.report('20261126090200_open_the_books', concat_ws(E'\n',
    'Plans:',
    format('  - %s plans in the catalogue', (select count(*) from public.token_plans)),
    format('  - Put %s users with tokens on the default plan, their balances unchanged', v_placed),
    format('  - Gave %s users who never had a grant their plan''s tokens', v_given),
    case when v_copied > 0 then format('  - Copied %s subscriptions', v_copied) end));
end
$$;

-- Older names, readable: a view where the name is free -------------------------------------------

do $$
begin
  if to_regclass('public.user_subscriptions') is null then
    create view public.user_subscriptions with (security_invoker = true) as select s.* from public.token_subscriptions s;
    comment on view public.user_subscriptions is
      'public.token_subscriptions under its older name. Read-only; users see their own.';
    perform tokenbook.withdraw_rights('table', 'public.user_subscriptions'::regclass);
    grant select on table public.user_subscriptions to authenticated, service_role;
  end if;

  if to_regclass('public.payments') is null then
    create view public.payments with (security_invoker = true) as select p.* from public.token_payments p;
    comment on view public.payments is 'public.token_payments under its older name. Read-only; users see their own.';
    perform tokenbook.withdraw_rights('table', 'public.payments'::regclass);
    grant select on table public.payments to authenticated, service_role;
  end if;

  if to_regclass('public.user_storage') is null then
    create view public.user_storage with (security_invoker = true) as
    select q.* from public.token_storage_quotas q where tokenbook.is_storage_in_force(q.user_id, q.subscription_id, q.metadata);
    comment on view public.user_storage is
      'public.token_storage_quotas under its older name. Read-only; users see their own.';
    perform tokenbook.withdraw_rights('table', 'public.user_storage'::regclass);
    grant select on table public.user_storage to authenticated, service_role;
  end if;
end
$$;

-- What has served ---------------------------------------------------------------------------------

do $$
declare
  v_table text;
  v_is_empty boolean;
begin
  foreach v_table in array array['old_token_balances', 'old_token_usage', 'old_token_transactions', 'old_user_storage'] loop
    execute format('select not exists (select from tokenbook.%I)', v_table) into v_is_empty;
    if v_is_empty then
      execute format('drop table tokenbook.%I', v_table);
    end if;
  end loop;
end
$$;
