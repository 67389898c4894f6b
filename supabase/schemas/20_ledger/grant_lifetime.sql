/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
 * No search_path of its own, so that Postgres writes it into the expression that asks (decision 22).
 * Caller: internal.
 */
create function tokenbook.grant_lifetime(p_grant_type text)
returns interval
language sql
immutable
security invoker
as $$
  select (tokenbook.grant_types() -> p_grant_type ->> 'lifetime_hours')::integer * interval '1 hour'
$$;
comment on function tokenbook.grant_lifetime is
  'Lifetime of a grant of that type when nothing else is said; NULL = for ever.';
