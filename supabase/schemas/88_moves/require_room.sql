/*
 * What a move asks of the project that the books come to. tokenbook move asks it before the first step, so that nobody's
 * books are closed for a move that cannot be; begin_arrival asks it again. It changes nothing.
 * p_keys is what tokenbook.keys_beside_users found where the books come from; NULL: it was asked before, and the indexes refuse.
 * Caller: begin_arrival, tokenbook move.   Locks: the accounts.   Errors: invalid_move, busy.
 * Returns the lines of a checkpoint with which the ledgers of users who come back have to begin.
 */
create function tokenbook.require_room(p_user_ids uuid[], p_keys jsonb default null)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new_ids uuid[];
  v_table record;
  v_has boolean;
  v_rule text;
begin
  perform tokenbook.lock_accounts(p_user_ids, p_away_too => true);
  if exists (select 1 from public.token_accounts a where a.user_id = any (p_user_ids) and a.state not in ('moved', 'arriving')) then -- @nobody-twice
    perform tokenbook.refuse('invalid_move', '{"rule": "users who have no books there"}');
  elsif exists (select 1 from tokenbook.unlisted_tables()) then
    perform tokenbook.refuse('invalid_move', '{"rule": "every table of users is known there"}');
  end if;
  perform tokenbook.require_unsplit('invalid_move', p_with_ledger => true);
  -- who has an account here has left it, or their copy waits: those rows make room
  v_new_ids := array(
    select u from unnest(p_user_ids) u where not exists (select 1 from public.token_accounts a where a.user_id = u));
  for v_table in select l.* from tokenbook.tables_of_users() l where l.stays is null and l.name <> 'tokenbook.failed_registrations'
  loop
    execute format('select exists (select 1 from %s x where %s)', v_table.name, v_table.whose) into v_has using v_new_ids;
    if v_has then
      perform tokenbook.refuse('invalid_move', jsonb_build_object(
        'rule', format('users of whom nothing is there, and there is something in %s', v_table.name)));
    end if;
  end loop;
  if p_keys is not null then
    select string_agg(k, ', ') into v_rule from jsonb_object_keys(tokenbook.keys_beside_users(p_user_ids, p_keys)) k;
    if v_rule is not null then -- @keys-are-free
      perform tokenbook.refuse('invalid_move', jsonb_build_object(
        'rule', format('users of whom nobody there has the same %s', v_rule)));
    end if;
  end if;
  return array(
    select tokenbook.checkpoint_line(chain.at)
      from unnest(p_user_ids) as u (id)
     cross join lateral (select c as at from tokenbook.chain_ledger(u.id) c order by c.id desc limit 1) chain
     where exists (select 1 from tokenbook.moves m where m.user_id = u.id and m.direction = 'out' and m.phase = 'moved')
     order by u.id);
end
$$;
comment on function tokenbook.require_room is
  'Refuses users for whom there is no room in this project; changes nothing. For tokenbook move, before it begins and in its second step.';

/*
 * The ledgers here begin with what these lines of a checkpoint say: books that come back are those that went, and more.
 * Caller: end_arrival where they have come; tokenbook move where they are, before it begins.   Errors: invalid_move.
 */
create function tokenbook.require_continuation(p_lines text[])
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select 1 from unnest(p_lines) as l (line)
     where not exists ( -- @continues-what-was
       select 1 from tokenbook.chain_ledger(split_part(l.line, ' ', 1)::uuid, null, split_part(l.line, ' ', 2)::bigint) c
        where tokenbook.checkpoint_line(c) = l.line))
  then
    perform tokenbook.refuse('invalid_move', '{"rule": "the continuation of what was there before"}');
  end if;
end
$$;
comment on function tokenbook.require_continuation is
  'Refuses ledgers here that do not begin with what these lines of a checkpoint say. For moves of users who come back.';

/*
 * What no two users of a project can both have, by its unique indexes without a user: an identity of another sign-in, a
 * provider's id, a code. Without p_wanted that of these users; with it, which is what another project found so, what
 * others than these users have of it here.
 * Caller: require_room; tokenbook move, where the books come from.   Returns {columns: [rows]}.
 */
create function tokenbook.keys_beside_users(p_user_ids uuid[], p_wanted jsonb default null)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key record;
  v_rows jsonb;
  v_keys jsonb := '{}';
begin
  for v_key in
    select l.name, l.whose, string_agg(quote_ident(a.attname), ', ' order by a.attname) as columns,
           format('%s (%s)', l.name, string_agg(a.attname, ', ' order by a.attname)) as called
      from tokenbook.tables_of_users() l
      join pg_index i on i.indrelid = l.name::regclass and i.indisunique and i.indexprs is null and i.indpred is null
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
     where l.stays is null
     group by l.name, l.whose, l.left_out, i.indexrelid
    having not bool_or(a.attname = 'user_id' or a.attname = any (l.left_out))
  loop
    execute format(
      case when p_wanted is null then 'select jsonb_agg(to_jsonb(k)) from (select %1$s from %2$s x where %3$s) k'
           else 'select jsonb_agg(to_jsonb(k)) from (select %1$s from %2$s x where (%3$s) is not true '
                'and (%1$s) in (select %1$s from jsonb_populate_recordset(null::%2$s, $2))) k' end,
      v_key.columns, v_key.name, v_key.whose)
      into v_rows using p_user_ids, p_wanted -> v_key.called;
    if v_rows is not null then
      v_keys := v_keys || jsonb_build_object(v_key.called, v_rows);
    end if;
  end loop;
  return v_keys;
end
$$;
comment on function tokenbook.keys_beside_users is
  'What of these users is unique in a project, or what of that others have here. For tokenbook move, before it begins.';
