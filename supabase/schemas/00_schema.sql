-- The schema of Tokenbook's internals. A client can use it (the public wrappers call into it as
-- the caller), but not through the API, which does not expose it.
create schema if not exists tokenbook;
comment on schema tokenbook is
  'Tokenbook''s internals. Not exposed by the API; functions in it are reached through public wrappers only.';
