/*
 * Whose money the tokens of a grant are: a payment's, or that of a grant (itself, or the one that it stands for); NULL,
 * nobody's: they were given away. Of a grant that came in when the books opened nobody knows what it cost, and what stands
 * for it says so.
 * Caller: internal.
 */
create function tokenbook.money_of(p_grant public.token_balances)
returns uuid
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    p_grant.cost_basis_of,
    p_grant.payment_id,
    case when p_grant.cost_basis_cents is not null or tokenbook.is_from_opening(p_grant.user_id, p_grant.id) then p_grant.id end);
end
$$;
comment on function tokenbook.money_of is
  'The payment or the grant whose money the tokens of a grant are; NULL: they were given away.';

/*
 * Whether a grant came in when the books opened.
 * Caller: internal.
 */
create function tokenbook.is_from_opening(p_user_id uuid, p_grant_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1 from public.token_transactions t
     where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance' and p_grant_id = any (t.grant_ids));
end
$$;
comment on function tokenbook.is_from_opening is 'Whether a grant came in when the books opened.';
