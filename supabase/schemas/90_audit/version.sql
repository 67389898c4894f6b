-- The version of Tokenbook that is installed: what `tokenbook status` and `upgrade` go by.
-- Caller: the database owner.
create function tokenbook.version()
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '0.1.0';
end
$$;
comment on function tokenbook.version is 'The version of Tokenbook that is installed, as its package''s.';
