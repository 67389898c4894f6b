/*
 * Every table that has rows of users, and what becomes of them when a user is moved to another project: one list, for
 * the copy, the proof and what is taken away again. In the order of the copy: the account first.
 *   whose     which rows, in SQL: x is the row, $1 the users
 *   left_out  columns that mean something in one database only (numbers of rows, transaction ids), or that the move sets
 *   stays     why they are not copied; NULL: they are
 * A table with a column of users that is not here is found by tokenbook.unlisted_tables, and nothing moves.
 * Caller: internal.
 */
create function tokenbook.tables_of_users()
returns table (name text, whose text, left_out text[], stays text)
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select l.name, coalesce(l.whose, 'x.user_id = any ($1)'), coalesce(l.left_out, '{}'), l.stays
    from (values
      ('public.token_accounts', null, '{state,alerts_version}'::text[], null),
      ('public.token_balances', null, null, null),
      ('public.token_transactions', null, null, null), -- @keys-go-along
      ('public.token_legacy_transactions', null, null, null),
      ('public.token_usage', null, null, null),
      ('tokenbook.archived_usage', null, null, null),
      ('tokenbook.archived_usage_receipts', null, null, null),
      ('public.token_holds', null, null, null),
      ('tokenbook.upcoming_grants', null, null, null),
      ('public.token_storage_quotas', null, null, null),
      ('tokenbook.subscriptions', null, null, null),
      ('public.token_payments', null, null, null),
      ('tokenbook.sales', null, null, null),
      ('tokenbook.sale_accounts', null, null, null),
      ('tokenbook.provider_customers', null, null, null),
      ('tokenbook.provider_payments',
       '(x.provider, x.provider_payment_id) in (select o.provider, o.id from tokenbook.provider_payments_of($1) o)', '{alert_id}', null),
      ('tokenbook.provider_events',
       '(x.provider, x.provider_payment_id) in (select o.provider, o.id from tokenbook.provider_payments_of($1) o)', null, null),
      ('tokenbook.provider_subscriptions',
       '(x.provider, x.provider_subscription_id) in (select o.provider, o.id from tokenbook.provider_subscriptions_of($1) o)', null, null),
      ('tokenbook.provider_subscription_events',
       '(x.provider, x.provider_subscription_id) in (select o.provider, o.id from tokenbook.provider_subscriptions_of($1) o)', null, null),
      ('public.token_alert_rules', null, null, null),
      ('tokenbook.token_alert_states', null, '{changed_in}', null),
      ('public.token_alerts', null, null, null),
      ('public.token_top_ups', null, null, null),
      ('public.token_top_up_requests', null, null, null),
      ('public.token_team_members', null, null, null),
      ('public.token_spend_caps', null, null, null),
      ('tokenbook.changes', null, '{id}', null),
      ('tokenbook.subjects', null, null, null),
      ('tokenbook.code_attempts', null, null, null),
      ('tokenbook.code_redemptions', null, null, null),
      ('tokenbook.referral_codes', null, null, null),
      ('tokenbook.referrals', null, null, null),
      ('tokenbook.shadow_balances', null, null, null),
      ('tokenbook.test_users', null, null, null),
      ('tokenbook.acknowledged_findings', null, null, null),
      ('tokenbook.failed_registrations', null, '{id}', null),
      ('tokenbook.archived_profile_counters', null, '{id}', null),
      ('tokenbook.cleared_token_balances', null, '{id}', null),
      ('tokenbook.admins', null, null, 'who administrates a project is said there'),
      ('tokenbook.set_aside_accounts', null, null, 'what a sweep could not do is tried again there'),
      ('tokenbook.usage_marks', null, null, 'how far reports have counted, in this project'),
      ('tokenbook.usage_totals', null, null, 'computed from token_usage and archived_usage, there anew'),
      ('tokenbook.ledger_checkpoints', null, null, 'computed from the ledger, there anew'),
      ('tokenbook.webhook_deliveries', null, null, 'what happened here is told from here'),
      ('tokenbook.moves', null, null, 'each end has its own')
    ) as l (name, whose, left_out, stays);
end
$$;
comment on function tokenbook.tables_of_users is
  'Every table with rows of users: which rows are whose, and what of them tokenbook move copies.';

/*
 * Tables of ours with a column that names a user, and that tables_of_users does not list. A column names one when it is
 * called user_id or member_id: so a table that is added later is found before anything moves without it.
 * Caller: tokenbook.begin_move.
 */
create function tokenbook.unlisted_tables()
returns setof text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select format('%s.%s', n.nspname, c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p') and not c.relispartition
     and (n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname = any (tokenbook.own_relations()))
     and exists (
       select 1 from pg_attribute a
        where a.attrelid = c.oid and not a.attisdropped and a.attname in ('user_id', 'member_id')) -- @whatever-names-a-user
     and not exists (select 1 from tokenbook.tables_of_users() l where l.name = format('%s.%s', n.nspname, c.relname))
   order by 1;
end
$$;
comment on function tokenbook.unlisted_tables is
  'Tables with a column of users of which tables_of_users does not say what becomes of them in a move.';

/*
 * The payments of providers that are of these users: theirs, all parts of them, and what their customers have paid that
 * waits to be given to somebody.
 * Caller: what tables_of_users says.
 */
create function tokenbook.provider_payments_of(p_user_ids uuid[])
returns table (provider text, id text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with theirs as (
    select p.provider, p.provider_payment_id, coalesce(p.part_of, p.provider_payment_id) as whole
      from tokenbook.provider_payments p where p.user_id = any (p_user_ids)
    union
    select p.provider, p.provider_payment_id, coalesce(p.part_of, p.provider_payment_id)
      from tokenbook.provider_customers c
      join tokenbook.provider_payments p on p.provider = c.provider and p.customer_id = c.customer_id and p.user_id is null
     where c.user_id = any (p_user_ids)
  )
  select t.provider, t.provider_payment_id from theirs t
  union
  select t.provider, t.whole from theirs t
  union
  select p.provider, p.provider_payment_id
    from theirs t
    join tokenbook.provider_payments p on p.provider = t.provider and p.part_of = t.whole;
end
$$;
comment on function tokenbook.provider_payments_of is
  'The payments of providers that are of these users, with all their parts, by provider and id.';

-- The same of subscriptions: those that name one of them, and those of their payments.   Caller: what tables_of_users says.
create function tokenbook.provider_subscriptions_of(p_user_ids uuid[])
returns table (provider text, id text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select s.provider, s.provider_subscription_id from tokenbook.provider_subscriptions s where s.user_id = any (p_user_ids)
  union
  select s.provider, s.provider_subscription_id
    from tokenbook.provider_customers c
    join tokenbook.provider_subscriptions s on s.provider = c.provider and s.customer_id = c.customer_id and s.user_id is null
   where c.user_id = any (p_user_ids)
  union
  select p.provider, p.subscription_id
    from tokenbook.provider_payments p where p.user_id = any (p_user_ids) and p.subscription_id is not null;
end
$$;
comment on function tokenbook.provider_subscriptions_of is
  'The subscriptions of providers that are of these users, by provider and id.';
