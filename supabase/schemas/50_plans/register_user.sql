/*
 * Gives a new user the default plan in the commit that makes them. A fault of Tokenbook's must not block
 * a sign-up: whole classes of errors are caught by name, the attempt is rolled back
 * and noted, and the user is healed by their first balance read or deduction (tokenbook.grant_initial_plan).
 * Where the note cannot be written either, the warning in the log is what is left. Waits for locks are
 * bounded, and a lock timeout is a fault like any other.
 * What cannot be caught (the server going down, a cancelled statement) fails the sign-up as a
 * whole, as it would without us. See docs/decisions/0015-registration.md.
 * Somebody who was deleted and is back under the same id goes on where their books are: what they missed meanwhile is not
 * made up, as after a freeze.
 * A default plan that is a trial waits for that first touch: the auth server writes the user first, and then their
 * identity at a provider, which says too whether they had one before.
 */
create function tokenbook.register_user()
returns trigger
language plpgsql
volatile
security definer -- sign-up runs as a role that may not write the books
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- or an open change of the catalogue would hold sign-ups up
as $$
declare
  v_error text;
begin
  loop
    begin
      if v_error is null then
        if exists (select 1 from public.token_accounts a where a.user_id = new.id) then -- @restored-users-go-on begin
          perform tokenbook.lock_account(new.id);
          perform tokenbook.skip_missed_slots(new.id, clock_timestamp());
        end if; -- @restored-users-go-on end
        perform tokenbook.grant_initial_plan(new.id, p_is_new => true);
      else
        insert into tokenbook.failed_registrations (user_id, error) values (new.id, v_error);
      end if;
      return new;
    exception
      when sqlstate 'PT000' -- every refusal of ours
        or data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation
        or transaction_rollback or object_not_in_prerequisite_state or insufficient_resources
        or program_limit_exceeded or plpgsql_error or invalid_transaction_state
        or feature_not_supported or sql_routine_exception or external_routine_exception
        or external_routine_invocation_exception or cardinality_violation or case_not_found
        or invalid_schema_name or invalid_catalog_name or invalid_grantor or invalid_role_specification
        or invalid_authorization_specification or dependent_privilege_descriptors_still_exist
        or triggered_action_exception or triggered_data_change_violation or with_check_option_violation
        or invalid_cursor_state or invalid_cursor_name or invalid_sql_statement_name
        or invalid_transaction_initiation or invalid_transaction_termination or savepoint_exception
        or locator_exception or diagnostics_exception or connection_exception or fdw_error
        or sql_statement_not_yet_complete or system_error or config_file_error or internal_error
      then
        raise warning 'user % could not be given a plan: % %', new.id, sqlstate, sqlerrm;
        if v_error is not null then -- not even noted
          return new;
        end if;
        v_error := sqlstate || ' ' || sqlerrm;
    end;
  end loop;
end
$$;
comment on function tokenbook.register_user is
  'Trigger on auth.users: gives a new user the default plan. Its faults never block the sign-up.';

create trigger tokenbook_register_user
  after insert on auth.users
  for each row execute function tokenbook.register_user();
