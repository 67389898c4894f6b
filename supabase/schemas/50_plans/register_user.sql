/*
 * Gives a new user the default plan in the commit that makes him. A fault of ours must not keep
 * anybody from signing up: whole classes of errors are caught by name, the attempt is rolled back
 * and noted, and the user is healed by his first balance read or deduction (tokenbook.grant_initial_plan).
 * What cannot be caught (the server going down, a cancelled statement) fails the sign-up as a
 * whole, as it would without us. See docs/decisions/0015-registration.md.
 */
create function tokenbook.register_user()
returns trigger
language plpgsql
volatile
security definer -- sign-up runs as a role that may not write the books
set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    perform tokenbook.grant_initial_plan(new.id, p_is_new => true);
  exception
    when data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation
      or transaction_rollback or object_not_in_prerequisite_state or insufficient_resources
      or program_limit_exceeded or plpgsql_error or invalid_transaction_state
      or feature_not_supported or sql_routine_exception or external_routine_exception
      or internal_error
      or sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' or sqlstate 'PT503'
    then
      raise warning 'user % could not be given his plan: % %', new.id, sqlstate, sqlerrm;
      insert into tokenbook.failed_registrations (user_id, error) values (new.id, sqlstate || ' ' || sqlerrm);
  end;
  return new;
end
$$;
comment on function tokenbook.register_user is
  'Trigger on auth.users: gives a new user the default plan. Its faults never block the sign-up.';

create trigger tokenbook_register_user
  after insert on auth.users
  for each row execute function tokenbook.register_user();
