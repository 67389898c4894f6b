/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time.
 * Caller: internal.
 */
create function tokenbook.grant_lifetime(p_grant_type text)
returns interval
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_grant_type
    when 'annual' then interval '8760 hours' -- 365 days
    when '28day' then interval '2160 hours' -- 90 days: three cycles
    when 'trial' then interval '1344 hours' -- 56 days
    when 'admin' then interval '8760 hours' -- 365 days
  end;
end
$$;
comment on function tokenbook.grant_lifetime is
  'Lifetime of a grant of that type: annual 365 days, 28day 90, trial 56, admin 365, purchase and plan NULL (for ever).';
