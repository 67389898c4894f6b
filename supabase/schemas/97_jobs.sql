/*
 * Where pg_cron is to be had, the sweeper runs every five minutes. Where it is not, nothing
 * breaks: what has run out is neither spent nor counted, and is booked by whoever comes next. The
 * second job does for changed alert rules what whoever touches an account would do.
 */
do $$
begin
  if exists (select from pg_available_extensions e where e.name = 'pg_cron') then
    create extension if not exists pg_cron;
    -- by name: running this again replaces the job
    execute $cron$
      select cron.schedule('tokenbook-expire-grants', '*/5 * * * *', 'select public.expire_old_token_grants()')
    $cron$;
    execute $cron$
      select cron.schedule('tokenbook-arm-alerts', '* * * * *', 'select public.arm_token_alerts()')
    $cron$;
  end if;
end
$$;
