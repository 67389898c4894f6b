/*
 * What a user is known by, as digests under a key: their id, and as long as they are a user their normalised address, their
 * phone number and each identity at a provider. One digest is their id alone: nobody can tell such a user from
 * another (an anonymous sign-in).
 * An identity of the providers email and phone says nothing more than the user's row. What users can write
 * themselves (user_metadata, an address that is not confirmed yet to change to) is not looked at.
 * Caller: internal.   Returns them in one order, so that two transactions that write them cannot deadlock.
 */
create function tokenbook.trial_identifiers(p_user_id uuid, p_key bytea)
returns bytea[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(d.digest order by d.digest)
      from (
        select distinct tokenbook.hmac_sha256(p_key, convert_to(known.by::text, 'UTF8')) as digest
          from (
            select jsonb_build_array('user', p_user_id) as by
            union all
            select jsonb_build_array('email', tokenbook.normal_address(u.email)) -- @trials-by-address
              from auth.users u where u.id = p_user_id and u.deleted_at is null and u.email <> ''
            union all
            select jsonb_build_array('phone', u.phone)
              from auth.users u where u.id = p_user_id and u.deleted_at is null and u.phone <> ''
            union all
            select jsonb_build_array('identity', i.provider, i.provider_id)
              from auth.users u
              join auth.identities i on i.user_id = u.id
             where u.id = p_user_id and u.deleted_at is null and i.provider not in ('email', 'phone') -- @trials-by-identity
          ) known) d);
end
$$;
comment on function tokenbook.trial_identifiers is
  'HMAC-SHA256 under a key of everything that the user is known by: id, normalised address, phone number, identities at providers; sorted.';
