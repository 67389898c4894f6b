-- A transaction as a history lists it. Columns are in the order of a jsonb's keys (by length, then by name), or each of
-- the rows would be sorted.
create type tokenbook.listed_allocation as (tokens bigint, grant_id uuid);
comment on type tokenbook.listed_allocation is 'What one grant paid or received, as a history lists it.';

create type tokenbook.listed_transaction as (
  id bigint, reason text, tokens bigint, hold_id uuid, actor_id uuid, metadata jsonb, usage_id uuid, member_id uuid,
  actor_role text, created_at timestamptz, entry_type text, action_type text,
  allocations tokenbook.listed_allocation[], debt_change bigint, original_id bigint, balance_after bigint, parent_hold_id text,
  idempotency_key text, reserved_change bigint
);
comment on type tokenbook.listed_transaction is 'A transaction as a history lists it. parent_hold_id is text as terms have it: to read it as a uuid costs every row something.';

/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found,
 * account_lost.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_token_history(
  p_user_id uuid default tokenbook.caller_id(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role constant text := (tokenbook.authorize(p_user_id, p_self_may => true)).actor_role;
  v_last_id bigint;
  v_entries tokenbook.listed_transaction[];
begin
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;

  select (select a.last_transaction_id from public.token_accounts a where a.user_id = p_user_id),
         array(
           select row(
                    t.id, t.reason, t.tokens, t.hold_id, t.actor_id, t.metadata, t.usage_id, t.member_id,
                    t.actor_role, t.created_at, t.entry_type, t.action_type,
                    case cardinality(t.grant_ids)
                      when 0 then '{}'
                      when 1 then array[row(t.grant_tokens[1], t.grant_ids[1])::tokenbook.listed_allocation] -- a subquery costs three times that
                      else array(
                        select row(part.tokens, part.grant_id)::tokenbook.listed_allocation
                          from unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)) end,
                    t.debt_change, t.original_id, t.balance_after,
                    t.terms #>> case t.action_type when 'hold_split' then '{move,from}'::text[] when 'hold_return' then '{move,to}' end, -- @parts-name-their-budget
                    t.idempotency_key, t.reserved_change)::tokenbook.listed_transaction
             from public.token_transactions t
            where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
            order by t.id desc
            limit p_limit + 1)
    into v_last_id, v_entries;
  if (v_entries[1].id = v_last_id) is not true then -- not the account's newest: an older page, or something is missing
    perform tokenbook.require_user(p_user_id, v_actor_role);
    if tokenbook.is_ledger_lost(p_user_id) then
      perform tokenbook.refuse('account_lost', '{}');
    end if;
  end if;
  if cardinality(v_entries) <= p_limit then -- older than the books
    v_entries := v_entries || array(
      select row(
               h.id, null, h.tokens, null, null, h.metadata, null, null,
               null, h.created_at, 'history', h.action_type,
               '{}', 0, null, null, null, null, 0)::tokenbook.listed_transaction
        from public.token_legacy_transactions h
       where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
       order by h.id desc
       limit p_limit + 1 - cardinality(v_entries));
  end if;

  return jsonb_build_object(
    'next_before', case when cardinality(v_entries) > p_limit then v_entries[p_limit].id end,
    'transactions', v_entries[:p_limit]);
end
$$;
comment on function tokenbook.get_token_history is
  'The user''s transactions, newest first. For the user themself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], debt_change (owed since: of a deduction an overdraft, of a repayment negative), reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, parent_hold_id (of hold_split and hold_return: the hold that is the budget of this one; its other entries do not say it), original_id (the transaction that it undoes), member_id (the member of the team who spent it), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
