-- from supabase/schemas/97_jobs.sql

/*
 * Where pg_cron is to be had, the sweeper runs every five minutes. Where it is not, or not for this role or
 * in this database, nothing breaks: what has run out is neither spent nor counted, and is booked by
 * the next call that touches the account. The second job does for changed alert rules what a call that touches an
 * account would do. Says what it did in tokenbook.migration_reports, and never fails for want of a schedule.
 */
do $$
declare
  c_jobs constant text[] := array[
    'tokenbook-expire-grants: */5 * * * *: select public.expire_old_token_grants()',
    'tokenbook-arm-alerts: * * * * *: select public.arm_token_alerts()'];
  v_job text;
  v_database text := coalesce(current_setting('cron.database_name', true), 'postgres');
  v_why text;
begin
  if not exists (select 1 from pg_extension e where e.extname = 'pg_cron') then
    if not exists (select 1 from pg_available_extensions e where e.name = 'pg_cron') then
      v_why := 'pg_cron is not available on this server';
    elsif current_database() <> v_database then
      v_why := format('pg_cron works in database %s only (cron.database_name), this is %s', v_database, current_database());
    else
      begin
        create extension pg_cron;
      exception
        -- no right to; not in shared_preload_libraries; its files are broken; a schema cron of somebody else's
        when insufficient_privilege or object_not_in_prerequisite_state or feature_not_supported
          or syntax_error_or_access_rule_violation or internal_error or raise_exception
          or system_error or undefined_file or config_file_error or duplicate_object or dependent_objects_still_exist
        then
          v_why := format('pg_cron is available, and %s could not create it: %s', current_user, sqlerrm);
      end;
    end if;
  end if;

  if v_why is null then
    begin
      foreach v_job in array c_jobs loop
        -- by name: running this again replaces the job
        execute 'select cron.schedule($1, $2, $3)'
          using split_part(v_job, ': ', 1), split_part(v_job, ': ', 2), split_part(v_job, ': ', 3);
      end loop;
    exception
      -- not for this role, not in this database, not in this version, or a row of its own table refused
      when syntax_error_or_access_rule_violation or object_not_in_prerequisite_state or feature_not_supported
        or invalid_schema_name or integrity_constraint_violation or data_exception or internal_error or raise_exception
        or system_error
      then
        v_why := format('%s could not schedule: %s', current_user, sqlerrm);
    end;
  end if;

  perform tokenbook.report('jobs', case
    when v_why is null then 'Scheduled: the sweep of expired grants every five minutes, and changed alert rules every minute'
    else format('Not scheduled: %s. Nothing depends on it; to have the sweep all the same, call public.expire_old_token_grants() and public.arm_token_alerts() from a scheduler of yours', v_why) end);
end
$$;
