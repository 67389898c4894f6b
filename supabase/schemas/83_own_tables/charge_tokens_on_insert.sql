/*
 * Makes each row that is inserted into a table of the project's cost tokens, from now on: the INSERT pays or fails, in one
 * commit (tokenbook.charge_for_row). How many: p_tokens, or what the column p_tokens_column of the row says, or, without
 * either, what the action costs (token_action_costs). Who: the user in the column p_user_column.
 * It puts one trigger on the table, tokenbook_charge, and is the only thing of Tokenbook's that does so by itself: nothing
 * of the project is touched but at its owner's word. The same again changes what a row costs.
 * Not for a view, a foreign table, or a partition and what it is of: an UPDATE that moves a row to another partition fires
 * the triggers of an INSERT, and would pay again.
 * Caller: the owner of the database and the table.   Locks: the table, until the commit: no row is half-way.
 * Errors: invalid_charged_table, invalid_action_type, invalid_amount.
 */
create function tokenbook.charge_tokens_on_insert(
  p_table regclass,
  p_action_type text,
  p_tokens bigint default null,
  p_user_column name default 'user_id',
  p_tokens_column name default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_field text;
  v_rule text;
  v_key name[];
begin
  perform tokenbook.check_action_type(p_action_type);
  if p_tokens is not null then
    perform tokenbook.check_tokens('p_tokens', p_tokens);
  end if;
  v_key := array(
    select a.attname
      from pg_index i
     cross join lateral unnest(i.indkey) with ordinality as k (attnum, nth)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = p_table and i.indisprimary
     order by k.nth);
  select w.field, w.rule into v_field, v_rule
    from (values
      (1, 'p_table', 'a table that is there, neither a view nor partitioned nor a partition', not exists (
        select 1 from pg_class c where c.oid = p_table and c.relkind = 'r' and not c.relispartition)),
      (2, 'p_table', 'a table of the project''s own', exists (
        select 1 from tokenbook.own_objects() o where o.class = 'pg_class'::regclass and o.object = p_table)),
      (3, 'p_table', 'a table with a primary key', v_key = '{}'),
      (4, 'p_user_column', 'a column of the table, of type uuid', not exists (
        select 1 from pg_attribute a
         where a.attrelid = p_table and a.attname = p_user_column and a.atttypid = 'uuid'::regtype and a.attnum > 0)),
      (5, 'p_tokens_column', 'a column of the table, of type smallint, integer or bigint', p_tokens_column is not null and not exists (
        select 1 from pg_attribute a
         where a.attrelid = p_table and a.attname = p_tokens_column and a.attnum > 0
           and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype))),
      (6, 'p_tokens_column', 'left out where p_tokens says how many', p_tokens_column is not null and p_tokens is not null)
    ) as w (place, field, rule, is_broken)
   where w.is_broken
   order by w.place
   limit 1;
  if v_rule is not null then
    perform tokenbook.refuse('invalid_charged_table', jsonb_build_object('field', v_field, 'rule', v_rule));
  end if;
  if num_nonnulls(p_tokens, p_tokens_column) = 0
    and not exists (select 1 from public.token_action_costs c where c.action_type = p_action_type)
  then
    perform tokenbook.refuse('invalid_charged_table', jsonb_build_object(
      'field', 'p_tokens', 'rule', 'given, or p_tokens_column, for an action that has no cost'));
  end if;

  perform tokenbook.stop_charging_tokens_on_insert(p_table);
  execute format('create trigger tokenbook_charge after insert on %s for each row execute function tokenbook.charge_for_row(%s)',
    p_table, (
      select string_agg(quote_literal(a.argument), ', ' order by a.nth)
        from unnest(array[p_action_type, coalesce(p_tokens::text, ''), coalesce(p_tokens_column::text, ''), p_user_column::text]
                    || v_key::text[]) with ordinality as a (argument, nth)));
end
$$;
comment on function tokenbook.charge_tokens_on_insert is
  'Makes each row that is inserted into a table of the project''s cost tokens: the INSERT pays or fails, in one commit. For the database owner: puts the trigger tokenbook_charge on the table. p_tokens a row, or what its column p_tokens_column says (0: nothing), or what the action costs; p_user_column says who pays. The same again changes it. Errors: invalid_charged_table, invalid_action_type, invalid_amount.';
