/*
 * Opens the books of users who have balances elsewhere: an account, its grants and one entry `opening_balance` for each,
 * whose number is 1. Once: a user who has books already is left as they are, so that the same rows again change nothing,
 * and a run that was cut short goes on where it was. A portion of users a call, each given once.
 * p_rows: [{user: uuid, grants: [{tokens, grant_type, granted_at, expires_at, metadata}], owed,
 * tokens_used, total_cost, metadata}]. What has run out is not brought in. p_source is kept with each entry.
 * Caller: the database owner (`tokenbook import`).   Locks: nothing that is there.
 * Returns {taken, without_balance (of them), grants, tokens, owed, done_before, left_out: [{user, why}]}; with p_dry_run what it would do.
 * Keeps: I1 to I4, I10.
 */
create function tokenbook.import_opening_balances(p_source text, p_rows jsonb, p_dry_run boolean default false)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  c_most constant bigint := (tokenbook.limits() -> 'tokens')::bigint;
  v_now timestamptz := clock_timestamp();
  v_answer jsonb;
begin
  drop table if exists pg_temp.tokenbook_import_users, pg_temp.tokenbook_import_grants;
  create temporary table tokenbook_import_users on commit drop as
  select r.nth, r.value ->> 'user' as said, found.id as user_id, coalesce((r.value ->> 'owed')::bigint, 0) as owed,
         coalesce((r.value ->> 'tokens_used')::bigint, 0) as tokens_used, coalesce((r.value ->> 'total_cost')::numeric, 0) as total_cost,
         coalesce(r.value -> 'metadata', '{}') as metadata, coalesce(r.value -> 'grants', '[]') as grants,
         case
           when found.id is null then 'no such user'
           when row_number() over (partition by found.id order by r.nth) > 1 then 'another row is of the same user'
           when coalesce((r.value ->> 'owed')::bigint, 0) > c_most then 'more than there can be'
           when t.id is not null and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = p_source then 'done before'
           when a.user_id is not null or t.id is not null then 'has books already'
         end as why
    from jsonb_array_elements(p_rows) with ordinality as r (value, nth)
    left join auth.users found on found.id = (r.value ->> 'user')::uuid
    left join public.token_accounts a on a.user_id = found.id
    left join public.token_transactions t on t.user_id = found.id and t.id = 1;
  analyze pg_temp.tokenbook_import_users;

  create temporary table tokenbook_import_grants on commit drop as
  select u.user_id, gen_random_uuid() as id, g.nth, g.tokens, coalesce(g.grant_type, 'purchase') as grant_type,
         least(coalesce(g.granted_at, v_now), v_now) as granted_at, nullif(g.expires_at, 'infinity') as expires_at,
         coalesce(g.metadata, '{}') as metadata
    from pg_temp.tokenbook_import_users u
   cross join lateral rows from (
     jsonb_to_recordset(u.grants) as (tokens bigint, grant_type text, granted_at timestamptz, expires_at timestamptz, metadata jsonb)
   ) with ordinality as g (tokens, grant_type, granted_at, expires_at, metadata, nth)
   where u.why is null and g.tokens > 0 and (g.expires_at <= v_now) is not true;

  update pg_temp.tokenbook_import_users u
     set why = 'more than there can be, or a type of grant that there is not'
    from (
      select g.user_id
        from pg_temp.tokenbook_import_grants g
        left join jsonb_each(tokenbook.grant_types()) as of (name, type) on of.name = g.grant_type
       group by g.user_id
      having sum(g.tokens) > c_most
          or bool_or(of.name is null or g.expires_at is null and (of.type -> 'must_end')::boolean)) wrong
   where wrong.user_id = u.user_id;
  delete from pg_temp.tokenbook_import_grants g
   where exists (select 1 from pg_temp.tokenbook_import_users u where u.user_id = g.user_id and u.why is not null);

  if not p_dry_run then
    -- the accounts first: a user whose account another transaction has made since the check above keeps that account
    with opened as (
      insert into public.token_accounts
        (user_id, tokens_remaining, tokens_owed, tokens_used, total_cost, last_transaction_id, next_due_at, updated_at)
      select u.user_id, coalesce(g.tokens, 0), u.owed, u.tokens_used, u.total_cost, 1,
             least(g.next_due_at, case when u.owed > 0 and g.tokens > 0 then v_now end), v_now
        from pg_temp.tokenbook_import_users u
        left join (
          select i.user_id, sum(i.tokens) as tokens, min(i.expires_at) as next_due_at
            from pg_temp.tokenbook_import_grants i group by i.user_id) g on g.user_id = u.user_id
       where u.why is null
      on conflict do nothing
      returning user_id
    )
    update pg_temp.tokenbook_import_users u
       set why = 'has books already'
     where u.why is null and not exists (select 1 from opened o where o.user_id = u.user_id);
    delete from pg_temp.tokenbook_import_grants g
     where exists (select 1 from pg_temp.tokenbook_import_users u where u.user_id = g.user_id and u.why is not null);

    insert into public.token_balances
      (user_id, id, grant_type, tokens_granted, tokens_remaining, is_open, granted_at, expires_at, metadata, created_at)
    select g.user_id, g.id, g.grant_type, g.tokens, g.tokens, true, g.granted_at, g.expires_at,
           g.metadata || jsonb_build_object('imported_from', p_source), v_now
      from pg_temp.tokenbook_import_grants g;

    perform tokenbook.append_transactions(array(
      select jsonb_populate_record(null::public.token_transactions, jsonb_build_object(
               'user_id', u.user_id, 'id', 1, 'entry_type', 'opening_balance', 'action_type', 'opening_balance',
               'tokens', coalesce(g.tokens, 0), 'balance_after', coalesce(g.tokens, 0), 'debt_change', u.owed, 'reserved_change', 0,
               'grant_ids', coalesce(to_jsonb(g.ids), '[]'), 'grant_tokens', coalesce(to_jsonb(g.parts), '[]'),
               'reason', 'the books open, from ' || p_source, 'actor_role', 'system',
               'metadata', u.metadata || jsonb_build_object(
                 'imported_from', p_source, 'tokens_used', u.tokens_used, 'total_cost', u.total_cost),
               'terms', jsonb_build_object('grants', coalesce(g.terms, '[]')), 'created_at', v_now))
        from pg_temp.tokenbook_import_users u
        left join (
          select b.user_id, sum(b.tokens_remaining) as tokens,
                 array_agg(b.id order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)) as ids,
                 array_agg(b.tokens_remaining order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)) as parts,
                 jsonb_agg(tokenbook.grant_terms(row(b.*)::public.token_balances) order by b.id) as terms
            from public.token_balances b
            join pg_temp.tokenbook_import_grants i on i.user_id = b.user_id and i.id = b.id
           group by b.user_id) g on g.user_id = u.user_id
       where u.why is null));
    perform tokenbook.remember_trial(t.user_id)
       from (select distinct g.user_id from pg_temp.tokenbook_import_grants g where g.grant_type = 'trial') t;
  end if;

  select jsonb_build_object(
           'taken', count(*) filter (where u.why is null),
           'without_balance', count(*) filter (where u.why is null and u.owed = 0 and has.user_id is null),
           'grants', (select count(*) from pg_temp.tokenbook_import_grants),
           'tokens', (select coalesce(sum(g.tokens), 0) from pg_temp.tokenbook_import_grants g),
           'owed', coalesce(sum(u.owed) filter (where u.why is null), 0),
           'done_before', count(*) filter (where u.why = 'done before'),
           'left_out', coalesce(jsonb_agg(jsonb_build_object('user', u.said, 'why', u.why) order by u.nth)
                                filter (where u.why is not null and u.why <> 'done before'), '[]'))
    into v_answer
    from pg_temp.tokenbook_import_users u
    left join (select distinct g.user_id from pg_temp.tokenbook_import_grants g) has on has.user_id = u.user_id;
  return v_answer;
end
$$;
comment on function tokenbook.import_opening_balances is
  'Opens the books of users who have balances elsewhere, once: an account, its grants and one opening_balance each. For the database owner.';
