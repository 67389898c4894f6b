/*
 * Makes a type of grants of the project's own, or changes what grants of it have where nothing else is said, from now
 * on. Of one that is there, what is left out stays. A type stays for ever, as the entries that name it do; the types that
 * every project has are as they are. The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_grant_type, invalid_reason.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_grant_type(
  p_grant_type text,
  p_terms jsonb,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_field text;
  v_rule text;
  v_before public.token_grant_types;
  v_type public.token_grant_types;
  v_changed text[];
begin
  -- validate
  v_actor := tokenbook.check_offer('invalid_grant_type', 'p_terms', p_terms, p_reason);
  if (p_grant_type ~ '^[a-z][a-z0-9_]{0,63}$' and not tokenbook.built_in_grant_types() ? p_grant_type) is not true then
    v_field := 'p_grant_type';
    v_rule := '1 to 64 characters of a-z 0-9 _, a letter first, and no type that every project has';
  else
    select f.key,
           case f.key when 'lifetime_hours' then 'a whole number from 1 to 876000, or null for ever'
                      when 'priority' then 'a whole number from 0 to 100'
                      when 'pays_for' then coalesce(tokenbook.broken_pays_for(f.value), '')
                      else 'a field that can be set' end
      into v_field, v_rule
      from jsonb_each(p_terms) f
     where f.key not in ('lifetime_hours', 'priority', 'pays_for')
        or case when f.key = 'pays_for' then f.value <> 'null' and tokenbook.broken_pays_for(f.value) is not null else
           case jsonb_typeof(f.value)
             when 'number' then f.value::numeric % 1 <> 0
               or case f.key when 'priority' then f.value::numeric not between 0 and 100 else f.value::numeric not between 1 and 876000 end
             when 'null' then f.key <> 'lifetime_hours'
             else true end end
     order by f.key
     limit 1;
  end if;
  if v_field is null then
    select g.* into v_before from public.token_grant_types g where g.grant_type = p_grant_type;
    if v_before.grant_type is null
      and (select count(*) from public.token_grant_types) >= (tokenbook.limits() -> 'grant_types')::integer -- @grant-types-are-few
    then
      v_field := 'p_grant_type';
      v_rule := format('one that is there: a project has at most %s of its own', tokenbook.limits() -> 'grant_types');
    end if;
  end if;
  if v_field is not null then
    perform tokenbook.refuse('invalid_grant_type', jsonb_build_object('field', left(v_field, 64), 'rule', v_rule));
  end if;

  -- act
  v_type := v_before;
  v_type.grant_type := p_grant_type;
  v_type.lifetime_hours := case when p_terms ? 'lifetime_hours' then trunc((p_terms ->> 'lifetime_hours')::numeric)
                                else v_before.lifetime_hours end; -- 5.0 is 5
  v_type.priority := coalesce(trunc((p_terms ->> 'priority')::numeric), v_before.priority, 50);
  v_type.pays_for := case when p_terms ? 'pays_for' then nullif(p_terms -> 'pays_for', 'null') else v_before.pays_for end;
  insert into public.token_grant_types as g (grant_type, lifetime_hours, priority, pays_for)
  values (v_type.grant_type, v_type.lifetime_hours, v_type.priority, v_type.pays_for)
  on conflict (grant_type) do update
     set lifetime_hours = excluded.lifetime_hours, priority = excluded.priority, pays_for = excluded.pays_for
   where (g.lifetime_hours, g.priority, g.pays_for) is distinct from (excluded.lifetime_hours, excluded.priority, excluded.pays_for);
  select g.* into v_type from public.token_grant_types g where g.grant_type = p_grant_type;
  v_changed := tokenbook.changed_fields(to_jsonb(v_before), to_jsonb(v_type), array['lifetime_hours', 'priority', 'pays_for']);
  if v_changed <> '{}' then
    perform tokenbook.record_change(
      'set_token_grant_type', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'grant_type', p_grant_type, 'is_new', v_before.grant_type is null, 'changed', v_changed,
        'before', case when v_before.grant_type is not null then to_jsonb(v_before) - array['grant_type', 'created_at'] end,
        'after', to_jsonb(v_type) - array['grant_type', 'created_at']));
  end if;
  return jsonb_build_object(
    'success', true,
    'grant_type', p_grant_type,
    'is_new', v_before.grant_type is null,
    'changed', v_changed,
    'terms', to_jsonb(v_type));
end
$$;
comment on function tokenbook.set_token_grant_type is
  'Makes a type of grants of the project''s own, or changes what grants of it have from now on where nothing else is said; what was granted stays. For an admin or the server. p_grant_type 1 to 64 characters of a-z 0-9 _, none of Lists; p_terms {lifetime_hours (1 to 876000; null: for ever), priority (0, spent first, to 100; 50 when nothing was ever said), pays_for (as of grant_tokens; null: everything)}: what is left out stays. p_reason 1 to 500 characters. A type stays for ever; a project has at most 100. The same again changes nothing. list_token_changes has the history. Returns {success, grant_type, is_new, changed: [field, …], terms (the row)}. Errors: invalid_grant_type, invalid_reason, forbidden.';
