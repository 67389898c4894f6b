/*
 * The key of the digests of trials, made where there is none yet: 32 bytes out of 366 random bits.
 * Nobody but the functions that make digests may call it, and none of them gives it on.
 * Caller: internal.   Locks: nothing; of two that make it at once, one waits for the other.
 */
create function tokenbook.trial_key()
returns bytea
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key bytea;
begin
  select k.key into v_key from tokenbook.trial_keys k where k.is_current;
  if v_key is null then
    insert into tokenbook.trial_keys (key)
    values (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
    on conflict do nothing;
    select k.key into v_key from tokenbook.trial_keys k where k.is_current;
  end if;
  return v_key;
end
$$;
comment on function tokenbook.trial_key is 'The key of the digests of trials; made where there is none. Never given to a caller.';
