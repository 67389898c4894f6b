/*
 * HMAC-SHA256 (RFC 2104) out of what Postgres brings: pgcrypto, which has it, is not in every project, and where
 * it is, it is in a schema of the project's choice.
 * Caller: internal.
 */
create function tokenbook.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant bytea := case when length(p_key) > 64 then sha256(p_key) else p_key end;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  for i in 0 .. length(v_key) - 1 loop
    v_inner := set_byte(v_inner, i, get_byte(v_inner, i) # get_byte(v_key, i));
    v_outer := set_byte(v_outer, i, get_byte(v_outer, i) # get_byte(v_key, i));
  end loop;
  return sha256(v_outer || sha256(v_inner || p_message));
end
$$;
comment on function tokenbook.hmac_sha256 is 'HMAC-SHA256 of a message under a key (RFC 2104).';
