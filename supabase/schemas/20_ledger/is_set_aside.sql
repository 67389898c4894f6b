/*
 * Whether the sweeps skip this account: its books were found damaged within the last hour
 * (tokenbook.sweep_accounts).
 * Caller: internal.
 */
create function tokenbook.is_set_aside(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1 from tokenbook.set_aside_accounts s
     where s.user_id = p_user_id and s.set_aside_at > clock_timestamp() - interval '1 hour');
end
$$;
comment on function tokenbook.is_set_aside is
  'Whether sweeps leave this account out: its books were found damaged within the last hour.';
