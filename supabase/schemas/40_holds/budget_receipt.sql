/*
 * What a receipt says of the budget that a hold is, or is a part of: what the parent was made for, what its children have
 * of it, what is left to pass on, and what they all paid. Nothing of a hold without a family.
 * Caller: internal.
 */
create function tokenbook.budget_receipt(p_user_id uuid, p_hold_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select jsonb_build_object('budget', jsonb_build_object(
             'hold_id', h.id,
             'status', h.status,
             'tokens', h.tokens + h.tokens_passed,
             'tokens_passed', h.tokens_passed,
             'tokens_left', case when h.status = 'open' then h.tokens else 0 end,
             'tokens_used', h.children_captured + coalesce(h.tokens_captured, 0),
             'expires_at', h.expires_at))
      from public.token_holds h
     where h.user_id = p_user_id and h.id = p_hold_id), '{}');
end
$$;
comment on function tokenbook.budget_receipt is
  'What a receipt says of a budget: {budget: {hold_id, status, tokens, tokens_passed, tokens_left, tokens_used, expires_at}}.';
