/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
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
  return (tokenbook.grant_types() -> p_grant_type ->> 'lifetime_hours')::integer * interval '1 hour';
end
$$;
comment on function tokenbook.grant_lifetime is
  'Lifetime of a grant of that type when nothing else is said; NULL = for ever.';
