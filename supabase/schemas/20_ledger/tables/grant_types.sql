/*
 * The types of grants: how many hours one lives when nothing else is said (null: for ever), whether it
 * must run out at some time, and the action_type of its transaction. The one list: everything that knows a type has it from here, the
 * edge functions (_shared/lists.ts) and the reference too.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time. Immutable,
 * so that an expression that asks is answered when its plan is made.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.grant_types()
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
           "plan":     {"lifetime_hours": null, "must_end": false, "action_type": "subscription_grant"}}';
end
$$;
comment on function tokenbook.grant_types is
  'The types of grants: {type: {lifetime_hours (null: for ever), must_end, action_type}}.';

-- The action types under which a grant is recorded: those of the types, a renewal's, and that of a slot.
create function tokenbook.grant_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct g.type ->> 'action_type' from jsonb_each(tokenbook.grant_types()) as g (name, type) order by 1)
    || array['renewal_grant', 'scheduled_grant'];
end
$$;
comment on function tokenbook.grant_action_types is
  'The action types under which a grant is recorded.';
