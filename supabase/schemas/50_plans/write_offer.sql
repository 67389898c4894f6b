/*
 * Writes a row of the catalogue, a plan or a pack: of one that is there the fields that are given, or a new one.
 * A field's type is its column's, and its bounds are the table's constraints: a refusal says the comment of the
 * constraint that a value breaks, and the field (the one that the comment begins with, where the rule is of several); so
 * there is no second list of either.
 * Caller: set_token_plan, set_token_pack, holding the settings' lock.
 * before is the row as it is, NULL where there is none. Returns it, the row after and the fields that have changed.
 * Errors: p_slug (invalid_plan, invalid_pack).
 */
create function tokenbook.write_offer(
  p_slug text,
  p_table text,
  p_key text,
  p_name text,
  p_given jsonb,
  inout before jsonb,
  out after jsonb,
  out changed text[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settable constant text[] := array(
    select a.attname from pg_attribute a
     where a.attrelid = format('public.%I', p_table)::regclass and a.attnum > 0 and not a.attisdropped
       and a.attgenerated = '' and a.attname not in (p_key, 'created_at', 'updated_at'));
  v_field record;
  v_fault text;
  v_constraint text;
  v_column text;
  v_columns text;
  v_as_given jsonb;
  v_plan public.token_plans;
  v_pack public.token_packs;
begin
  -- validate: the types; NULL only where there may be none
  for v_field in
    select g.name, g.value, jsonb_typeof(g.value) as kind, c.attnotnull as must,
           format_type(c.atttypid, c.atttypmod) as type
      from jsonb_each(p_given) as g (name, value)
      left join pg_attribute c
        on c.attrelid = format('public.%I', p_table)::regclass and c.attname = g.name and c.attname = any (v_settable)
  loop
    v_fault := case
      when v_field.type is null then 'a field that can be set'
      when v_field.kind = 'null' then case when v_field.must then 'not null' end
      when v_field.type = 'text' and v_field.kind <> 'string' then 'a text'
      when v_field.type = 'boolean' and v_field.kind <> 'boolean' then 'true or false'
      when v_field.type = 'jsonb' and v_field.kind <> 'object' then 'an object'
      when v_field.type = 'timestamp with time zone'
        and (v_field.value = '"-infinity"' or v_field.kind = 'string' and tokenbook.moment_of(v_field.value #>> '{}') is not null) is not true
        then 'a moment with its offset, or -infinity'
      when v_field.type = 'text[]' and (v_field.kind <> 'array' or exists (
             select 1 from jsonb_array_elements(case when v_field.kind = 'array' then v_field.value else '[]' end) e
              where jsonb_typeof(e) <> 'string' or length(e #>> '{}') not between 1 and 255))
        then 'an array of texts of 1 to 255 characters'
      when v_field.type in ('bigint', 'integer', 'smallint') and (
             v_field.kind <> 'number'
             or case when v_field.kind = 'number' then v_field.value::numeric else 0 end not between
                  case v_field.type when 'bigint' then -9223372036854775808 when 'integer' then -2147483648 else -32768 end
                  and case v_field.type when 'bigint' then 9223372036854775807 when 'integer' then 2147483647 else 32767 end
             or case when v_field.kind = 'number' then v_field.value::numeric % 1 else 0 end <> 0) then 'a whole number'
    end;
    if v_fault is not null then
      perform tokenbook.refuse(p_slug, jsonb_build_object('field', left(v_field.name, 64), 'rule', v_fault));
    elsif v_field.kind = 'number' then
      p_given := p_given || jsonb_build_object(v_field.name, trunc(v_field.value::numeric)); -- 5.0 is 5
    end if;
  end loop;

  -- act
  p_given := p_given || case when before is null then jsonb_build_object(p_key, p_name) else '{}' end;
  begin
    v_as_given := case p_table -- a plan's or a pack's row with what was given
      when 'token_plans' then to_jsonb(jsonb_populate_record(jsonb_populate_record(null::public.token_plans, before), p_given))
      else to_jsonb(jsonb_populate_record(jsonb_populate_record(null::public.token_packs, before), p_given)) end;
    if before is null then
      v_columns := (select string_agg(quote_ident(g), ', ') from jsonb_object_keys(p_given) g);
      if p_table = 'token_plans' then
        execute format(
          'insert into public.token_plans as t (%1$s) select %1$s from jsonb_populate_record(null::public.token_plans, $1) returning t.*',
          v_columns) into v_plan using p_given;
        after := to_jsonb(v_plan);
      else
        execute format(
          'insert into public.token_packs as t (%1$s) select %1$s from jsonb_populate_record(null::public.token_packs, $1) returning t.*',
          v_columns) into v_pack using p_given;
        after := to_jsonb(v_pack);
      end if;
    elsif p_given <> '{}' and v_as_given <> before then
      v_columns := (select string_agg(format('%1$I = r.%1$I', g), ', ') from jsonb_object_keys(p_given) g);
      if p_table = 'token_plans' then
        execute format(
          'update public.token_plans t set %s, updated_at = $3 from jsonb_populate_record(null::public.token_plans, $1) r '
          'where t.plan_type = $2 returning t.*',
          v_columns) into v_plan using p_given, p_name, clock_timestamp();
        after := to_jsonb(v_plan);
      else
        execute format(
          'update public.token_packs t set %s, updated_at = $3 from jsonb_populate_record(null::public.token_packs, $1) r '
          'where t.pack_type = $2 returning t.*',
          v_columns) into v_pack using p_given, p_name, clock_timestamp();
        after := to_jsonb(v_pack);
      end if;
    end if;
  exception
    when check_violation then
      get stacked diagnostics v_constraint = constraint_name;
      select coalesce(obj_description(c.oid, 'pg_constraint'), replace(substr(c.conname, length(p_table) + 2), '_', ' ')),
             (select a.attname
                from unnest(c.conkey) with ordinality as k (attnum, nth)
                join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
               order by obj_description(c.oid, 'pg_constraint') ^@ (a.attname || ': ') desc nulls last, -- @rules-name-their-field
                        p_given ? a.attname desc, k.nth
               limit 1)
        into v_fault, v_column
        from pg_constraint c
       where c.conrelid = format('public.%I', p_table)::regclass and c.conname = v_constraint;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', case when v_column = p_key then 'p_' || p_key else v_column end,
        'rule', case when v_fault ^@ (v_column || ': ') then substr(v_fault, length(v_column) + 3) else v_fault end));
    when not_null_violation then
      get stacked diagnostics v_column = column_name;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', case when v_column = p_key then 'p_' || p_key else v_column end, 'rule', 'given when it is made'));
    when unique_violation then
      get stacked diagnostics v_constraint = constraint_name;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', regexp_replace(v_constraint, format('^%s_|_key$', p_table), '', 'g'), 'rule', 'not another''s'));
  end;
  after := coalesce(after, before);
  changed := tokenbook.changed_fields(before, after, v_settable);
end
$$;
comment on function tokenbook.write_offer is
  'Writes a plan or a pack: the fields that are given of one that is there, or a new one; refuses what its columns and constraints do.';
