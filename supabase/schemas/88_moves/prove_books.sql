/*
 * What the books of these users come to, so that two projects can be compared: of each table that is copied how many rows
 * there are and a digest of them, the sums, the ledger as a checkpoint says it (SHA-256 over each entry, and each before
 * it; decision 39), and the keys of all calls. Two digests are equal when the rows are, in whatever order they lie.
 * Reads all that the users have. Without p_with_ledger the chain over the ledger is left out, and the digests of the rows
 * of the ledger and of the uses, which nobody can change; their number stays.
 * Caller: begin_move, mark_moved, end_arrival; the owner of the database.
 * Returns {users, tables: {name: {rows, digest}}, sums, ledger: [a line of a checkpoint for each user], keys: {count, digest}}.
 */
create function tokenbook.prove_books(p_user_ids uuid[], p_with_ledger boolean default true)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set extra_float_digits = 1
set plan_cache_mode = force_custom_plan
as $$
declare
  c_long constant text[] := array['public.token_transactions', 'public.token_usage'];
  v_table record;
  v_rows bigint;
  v_digest text;
  v_tables jsonb := '{}';
  v_sums jsonb;
  v_lines jsonb;
  v_keys jsonb;
begin
  for v_table in
    select l.name, l.whose,
           string_agg('x.' || quote_ident(a.attname), ', ' order by a.attname) as columns
      from tokenbook.tables_of_users() l
      join pg_attribute a on a.attrelid = l.name::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> all (l.left_out)
     where l.stays is null
     group by l.name, l.whose
  loop
    if not p_with_ledger and v_table.name = any (c_long) then
      execute format('select count(*) from %s x where %s', v_table.name, v_table.whose) into v_rows using p_user_ids;
      v_tables := v_tables || jsonb_build_object(v_table.name, jsonb_build_object('rows', v_rows));
    else
      execute format(
        'select count(*), concat_ws(''-'', coalesce(sum(hashtextextended(d.row, 1)::numeric), 0), coalesce(sum(hashtextextended(d.row, 2)::numeric), 0)) '
        'from (select row(%s)::text as row from %s x where %s) d',
        v_table.columns, v_table.name, v_table.whose)
        into v_rows, v_digest using p_user_ids;
      v_tables := v_tables || jsonb_build_object(
        v_table.name, jsonb_build_object('rows', v_rows, 'digest', encode(sha256(v_digest::bytea), 'hex')));
    end if;
  end loop;

  select jsonb_build_object(
           'tokens_remaining', coalesce(sum(a.tokens_remaining), 0), 'tokens_reserved', coalesce(sum(a.tokens_reserved), 0),
           'tokens_used', coalesce(sum(a.tokens_used), 0), 'tokens_expired', coalesce(sum(a.tokens_expired), 0),
           'tokens_owed', coalesce(sum(a.tokens_owed), 0), 'last_transactions', coalesce(sum(a.last_transaction_id), 0))
         || (select jsonb_build_object('tokens_granted', coalesce(sum(b.tokens_granted), 0))
               from public.token_balances b where b.user_id = any (p_user_ids))
    into v_sums
    from public.token_accounts a
   where a.user_id = any (p_user_ids);

  if p_with_ledger then
    select coalesce(jsonb_agg(tokenbook.checkpoint_line(chain.at) order by u.id), '[]') into v_lines
      from unnest(p_user_ids) as u (id)
     cross join lateral (
       select c as at from tokenbook.chain_ledger(u.id) c order by c.id desc limit 1) chain;
    select jsonb_build_object(
             'count', count(*),
             'digest', encode(sha256(concat_ws('-', sum(hashtextextended(k.key, 1)::numeric), sum(hashtextextended(k.key, 2)::numeric))::bytea), 'hex'))
      into v_keys
      from (
        select concat_ws(' ', t.user_id, t.member_id, t.actor_role = 'user', t.idempotency_key) as key
          from public.token_transactions t where t.user_id = any (p_user_ids) and t.idempotency_key is not null
        union all
        select concat_ws(' ', 'payment', p.user_id, p.idempotency_key)
          from public.token_payments p where p.user_id = any (p_user_ids) and p.idempotency_key is not null) k;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'users', cardinality(p_user_ids), 'tables', v_tables, 'sums', v_sums, 'ledger', v_lines, 'keys', v_keys));
end
$$;
comment on function tokenbook.prove_books is
  'What the books of these users come to, to be compared with another project''s: rows and digests by table, sums, the chain over the ledger, and the keys.';
