/*
 * Whether events may be sent to an address: https, or http on this machine, without a user, a password or a fragment.
 * Not where it leads: an admin gives it (decision 61).
 * Caller: internal, and CHECKs.
 */
create function tokenbook.is_webhook_url(p_url text)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return octet_length(p_url) <= 2000
    and p_url ~ '^(https://([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])|http://(localhost|127[.]0[.]0[.]1))(:[0-9]{1,5})?([/?][!-"$-~]*)?$'; -- @https-or-local
end
$$;
comment on function tokenbook.is_webhook_url is
  'Whether events may be sent to an address: https, or http on this machine.';
