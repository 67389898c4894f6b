/*
 * Gives a child hold more of its parent's tokens, for a call that used more than it held: all or nothing, or with
 * p_partial what the parent has left that pays for it. Nothing, when that has ended.
 * The caller settles the child, and has locked the account and the child.
 * Caller: tokenbook.settle_hold.   Returns how many (NULL: somebody has locked the parent), and how many there were.
 * Errors: account_frozen.   Keeps: I1, I3, I8.
 */
create function tokenbook.grow_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint,
  p_partial boolean,
  p_model_used text,
  p_actor_role text,
  p_actor_id uuid,
  p_now timestamptz,
  out tokens bigint,
  out payable bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold public.token_holds;
  v_account public.token_accounts;
  v_model text;
  v_taken record;
  v_entry public.token_transactions;
begin
  tokens := 0;
  payable := 0;
  select h.* into v_hold from public.token_holds h where h.user_id = p_user_id and h.id = p_hold_id;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if tokenbook.is_frozen(v_account, v_hold.member_id) then -- as beyond any other hold
    if not p_partial then
      perform tokenbook.refuse('account_frozen', '{}');
    end if;
    return;
  elsif not tokenbook.is_parent_open(p_user_id, v_hold.parent_id, p_now) then
    return;
  end if;
  v_model := coalesce(p_model_used, (
    select t.terms ->> 'model' from public.token_transactions t where t.user_id = p_user_id and t.id = v_hold.transaction_id));
  v_taken := tokenbook.take_from_hold(p_user_id, v_hold.parent_id, p_tokens, v_hold.action_type, v_model, p_partial);
  tokens := v_taken.tokens;
  payable := v_taken.payable;
  if tokens > 0 then
    update public.token_holds h
       set tokens = h.tokens + grow_hold.tokens, grant_ids = merged.grant_ids, grant_tokens = merged.grant_tokens
      from public.token_holds p
      join public.token_transactions t on t.user_id = p_user_id and t.id = p.transaction_id
     cross join lateral tokenbook.merge_allocations(
             v_hold.grant_ids, v_hold.grant_tokens, v_taken.grant_ids, v_taken.grant_tokens, t.grant_ids) merged
     where h.user_id = p_user_id and h.id = p_hold_id and p.user_id = p_user_id and p.id = v_hold.parent_id;
    v_entry.user_id := p_user_id;
    v_entry.reason := v_hold.action_type;
    v_entry.actor_role := p_actor_role;
    v_entry.actor_id := p_actor_id;
    v_entry.hold_id := p_hold_id;
    v_entry.member_id := v_hold.member_id;
    v_entry.created_at := p_now;
    perform tokenbook.record_transaction(tokenbook.as_move(
      v_entry, 'hold_split', v_hold.parent_id, p_hold_id, v_taken.grant_ids, v_taken.grant_tokens, v_model));
  end if;
end
$$;
comment on function tokenbook.grow_hold is
  'Gives a child hold more of what its parent has left, for a call that used more than it held.';
