/*
 * Refuses a setting that does not say for whom it is: one user, the users of a plan, or, in a word of its
 * own, everyone. Clients drop fields that are undefined; one left out by mistake must not widen the
 * setting from one user to all of them.
 * Caller: internal.   Returns user, plan or everyone.   Errors: invalid_scope.
 */
create function tokenbook.check_scope(p_user_id uuid, p_plan_type text, p_for_everyone boolean)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if num_nonnulls(p_user_id, p_plan_type, nullif(p_for_everyone, false)) <> 1 then -- @everyone-is-said
    perform tokenbook.refuse('invalid_scope',
      '{"field": "p_user_id", "rule": "a user, or a plan where there may be one, or p_for_everyone true; one of them"}');
  end if;
  return case when p_user_id is not null then 'user' when p_plan_type is not null then 'plan' else 'everyone' end;
end
$$;
comment on function tokenbook.check_scope is
  'Refuses with invalid_scope unless exactly one of user, plan and p_for_everyone is said; user, plan or everyone.';
