/*
 * The types of grants that every project has: how many hours one lives when nothing else is said (null: for ever),
 * whether it must run out at some time, and the action_type of its transaction. The one list of them: edge functions
 * (_shared/lists.ts) and the reference have it from here too. A project's own are beside them, in token_grant_types.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time. Immutable,
 * so that the planner folds a call of it into a constant.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.built_in_grant_types()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"annual":   {"lifetime_hours": 8760, "must_end": true, "action_type": "subscription_grant"},
           "28day":    {"lifetime_hours": 2160, "must_end": true, "action_type": "subscription_grant"},
           "trial":    {"lifetime_hours": 1344, "must_end": true, "action_type": "trial_grant"},
           "purchase": {"lifetime_hours": null, "must_end": false, "action_type": "token_pack_purchase"},
           "admin":    {"lifetime_hours": 8760, "must_end": false, "action_type": "admin_grant"},
           "bonus":    {"lifetime_hours": null, "must_end": false, "action_type": "bonus_grant"},
           "plan":     {"lifetime_hours": null, "must_end": false, "action_type": "subscription_grant"}}';
end
$$;
comment on function tokenbook.built_in_grant_types is
  'The types of grants that every project has: {type: {lifetime_hours (null: for ever), must_end, action_type}}.';

-- The action types under which a grant is recorded: those of the types, a renewal's, that of a slot, and that of a project's own types.
create function tokenbook.grant_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct g.type ->> 'action_type' from jsonb_each(tokenbook.built_in_grant_types()) as g (name, type) order by 1)
    || array['renewal_grant', 'scheduled_grant', 'custom_grant'];
end
$$;
comment on function tokenbook.grant_action_types is
  'The action types under which a grant is recorded.';

/*
 * Every type of grants that there is here: those that every project has, and the project's own.
 * Caller: internal.
 */
create function tokenbook.grant_types()
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.built_in_grant_types() || coalesce((
    select jsonb_object_agg(g.grant_type, tokenbook.grant_type_terms(g.grant_type)) from public.token_grant_types g), '{}');
end
$$;
comment on function tokenbook.grant_types is
  'The types of grants that there are here, the project''s own too: {type: {lifetime_hours (null: for ever), must_end, action_type, priority (of own ones)}}.';

/*
 * What a type of grants has where nothing else is said; NULL where there is no such type. A project's own may live for
 * ever, and are recorded under one name.
 * Caller: internal.
 */
create function tokenbook.grant_type_terms(p_grant_type text)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_terms jsonb := tokenbook.built_in_grant_types() -> p_grant_type;
begin
  if v_terms is null then
    select jsonb_build_object(
             'lifetime_hours', g.lifetime_hours, 'must_end', false, 'action_type', 'custom_grant', 'priority', g.priority,
             'pays_for', g.pays_for)
      into v_terms
      from public.token_grant_types g
     where g.grant_type = p_grant_type;
  end if;
  return v_terms;
end
$$;
comment on function tokenbook.grant_type_terms is
  'What a type of grants has where nothing else is said: {lifetime_hours (null: for ever), must_end, action_type, priority and pays_for (of own ones)}; NULL: there is no such type.';
