/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_token_history(p_user_id uuid, p_limit integer, p_before bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_entries jsonb;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);

  select jsonb_agg(e.entry order by e.id desc) into v_entries
    from (
      (select t.id, jsonb_build_object(
         'id', t.id, 'entry_type', t.entry_type, 'action_type', t.action_type,
         'tokens', t.tokens, 'reserved_change', t.reserved_change, 'balance_after', t.balance_after,
         'allocations', (
           select coalesce(jsonb_agg(jsonb_build_object('grant_id', a.grant_id, 'tokens', a.tokens) order by a.nth), '[]')
             from unnest(t.grant_ids, t.grant_tokens) with ordinality as a (grant_id, tokens, nth)),
         'reason', t.reason, 'actor_role', t.actor_role, 'actor_id', t.actor_id,
         'idempotency_key', t.idempotency_key, 'usage_id', t.usage_id, 'hold_id', t.hold_id,
         'original_id', t.original_id, 'member_id', t.member_id, 'metadata', t.metadata, 'created_at', t.created_at) as entry
         from public.token_transactions t
        where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
        order by t.id desc
        limit p_limit + 1)
      union all
      (select h.id, jsonb_build_object(
         'id', h.id, 'entry_type', 'history', 'action_type', h.action_type,
         'tokens', h.tokens, 'reserved_change', 0, 'balance_after', null, 'allocations', '[]'::jsonb,
         'reason', null, 'actor_role', null, 'actor_id', null,
         'idempotency_key', null, 'usage_id', null, 'hold_id', null,
         'original_id', null, 'member_id', null, 'metadata', h.metadata, 'created_at', h.created_at)
         from public.legacy_token_transactions h
        where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
        order by h.id desc
        limit p_limit + 1)
      order by id desc
      limit p_limit + 1
    ) e;

  return jsonb_build_object(
    'transactions', coalesce(v_entries - p_limit, '[]'),
    'next_before', case when jsonb_array_length(v_entries) > p_limit
                        then v_entries -> (p_limit - 1) -> 'id' end);
end
$$;
comment on function private.get_token_history(uuid, integer, bigint) is 'See public.get_token_history.';
revoke all on function private.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function private.get_token_history(uuid, integer, bigint) to authenticated, service_role;

create or replace function public.get_token_history(
  p_user_id uuid default auth.uid(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_token_history(p_user_id, p_limit, p_before);
end
$$;
comment on function public.get_token_history(uuid, integer, bigint) is
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, original_id (the transaction that it undoes), member_id (the member of the team who spent it), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function public.get_token_history(uuid, integer, bigint) to authenticated, service_role;
