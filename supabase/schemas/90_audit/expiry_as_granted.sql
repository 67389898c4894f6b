/*
 * When a grant would have run out had it not been voided: its place in the burn order, until then, was by that. What
 * set_token_grant_expiry said before counts.
 * Caller: internal.
 */
create function tokenbook.expiry_as_granted(p_grant public.token_balances)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_grant.voided_at is null then
    return p_grant.expires_at;
  end if;
  return (
    select (t.metadata ->> 'expires_at')::timestamptz
      from public.token_transactions t
     where t.user_id = p_grant.user_id and t.created_at = p_grant.voided_at
       and t.entry_type in ('void', 'clawback')
       and t.terms ->> 'voids' = p_grant.id::text); -- @void-by-own-entry
end
$$;
comment on function tokenbook.expiry_as_granted is
  'When a grant would have run out had it not been voided; NULL = never.';
