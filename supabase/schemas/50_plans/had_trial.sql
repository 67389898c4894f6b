/*
 * Whether a trial was given to a person known by one of these identifiers.
 * Caller: internal.
 */
create function tokenbook.had_trial(p_identifiers bytea[])
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select 1 from tokenbook.trials_taken t where t.identifier = any (p_identifiers));
end
$$;
comment on function tokenbook.had_trial is 'Whether somebody who is known by one of these digests has had a trial.';
