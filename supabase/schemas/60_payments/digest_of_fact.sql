/*
 * The digest of a fact that a provider told: of what it says, of which payment or subscription, and in which event. So a fact that is
 * told again is known by it, and one that was changed, or moved to another payment, where it may change no sum, is found.
 * Caller: internal.
 */
create function tokenbook.digest_of_fact(p_provider text, p_about text, p_event_id text, p_event_type text, p_facts jsonb)
returns bytea
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return sha256(convert_to(jsonb_build_array(p_provider, p_about, p_event_id, p_event_type, p_facts)::text, 'UTF8'));
end
$$;
comment on function tokenbook.digest_of_fact is
  'SHA-256 of a fact that a provider told, with the payment or subscription that it is about, its event and the event''s type.';
