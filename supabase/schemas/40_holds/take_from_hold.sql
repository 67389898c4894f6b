/*
 * Takes tokens out of an open hold for a child of it, from its front, of the grants in it that pay for what the child is
 * for; all or nothing, or with p_partial what there is. The grants have given them already: nothing about the account
 * changes. The caller has locked the account, knows that the hold is open, and writes the entry.
 * p_order is how the hold had its grants first; p_payable what of its rest pays. tokens is NULL where somebody has locked
 * the hold by itself, in the SQL editor.
 * Caller: internal.   Keeps: I1, I8.
 */
create function tokenbook.take_from_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_model_used text,
  p_partial boolean default false,
  out grant_ids uuid[],
  out grant_tokens bigint[],
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
  v_pays boolean[];
  v_split record;
begin
  select h.* into v_hold
    from public.token_holds h
   where h.user_id = p_user_id and h.id = p_hold_id
     for no key update skip locked; -- @parent-read-with-lock
  if v_hold.id is null then
    return;
  end if;
  select coalesce(array_agg(part.pays order by part.nth), '{}'), coalesce(sum(part.tokens) filter (where part.pays), 0)
    into v_pays, payable
    from (
      select p.nth, p.tokens, coalesce(tokenbook.pays_for(b.pays_for, p_action_type, p_model_used), true) as pays -- @passes-on-what-pays
        from unnest(v_hold.grant_ids, v_hold.grant_tokens) with ordinality as p (grant_id, tokens, nth)
        left join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id) part;
  tokens := least(p_tokens, payable); -- @passes-no-more
  if tokens < p_tokens and not p_partial then
    tokens := 0;
  end if;
  v_split := tokenbook.split_allocation(v_hold.grant_ids, v_hold.grant_tokens, v_pays, tokens);
  grant_ids := v_split.grant_ids;
  grant_tokens := v_split.grant_tokens;
  if tokens > 0 then
    update public.token_holds h
       set tokens = h.tokens - take_from_hold.tokens, -- @passed-on-is-gone
           tokens_passed = h.tokens_passed + take_from_hold.tokens,
           grant_ids = v_split.left_ids,
           grant_tokens = v_split.left_tokens
     where h.user_id = p_user_id and h.id = p_hold_id;
  end if;
end
$$;
comment on function tokenbook.take_from_hold is
  'Takes tokens out of an open hold for a child of it, of the grants in it that pay for that; which they are, how many, and how many there were that pay.';

/*
 * What a child does not use goes back to its open parent, each grant to its place. The caller has locked the account and
 * both holds, and writes the entry.
 * Caller: internal.   Keeps: I1.
 */
create function tokenbook.return_to_hold(p_user_id uuid, p_hold_id uuid, p_grant_ids uuid[], p_grant_tokens bigint[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_merged record;
  v_tokens constant bigint := (select sum(part) from unnest(p_grant_tokens) part);
begin
  select m.* into v_merged
    from public.token_holds h
    join public.token_transactions t on t.user_id = p_user_id and t.id = h.transaction_id
   cross join lateral tokenbook.merge_allocations(h.grant_ids, h.grant_tokens, p_grant_ids, p_grant_tokens, t.grant_ids) m
   where h.user_id = p_user_id and h.id = p_hold_id;
  update public.token_holds h
     set tokens = h.tokens + v_tokens,
         tokens_passed = h.tokens_passed - v_tokens,
         grant_ids = v_merged.grant_ids,
         grant_tokens = v_merged.grant_tokens
   where h.user_id = p_user_id and h.id = p_hold_id;
end
$$;
comment on function tokenbook.return_to_hold is
  'Puts what a child of a hold did not use back into that hold.';

/*
 * An entry as one that moves tokens between a hold and its child: of 0 tokens, as the grants gave them before, with {move:
 * {from, to, grant_ids, grant_tokens}} and the model that they are for, where one was named, in its terms. p_action_type
 * is hold_split or hold_return; user, hold, member, reason, actor and moment are the caller's.
 * Caller: internal.
 */
create function tokenbook.as_move(
  p_entry public.token_transactions,
  p_action_type text,
  p_from uuid,
  p_to uuid,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_model_used text default null
)
returns public.token_transactions
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  p_entry.entry_type := 'usage';
  p_entry.action_type := p_action_type;
  p_entry.tokens := 0;
  p_entry.debt_change := 0;
  p_entry.reserved_change := 0;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  p_entry.metadata := coalesce(p_entry.metadata, '{}');
  p_entry.terms := jsonb_strip_nulls(jsonb_build_object(
    'model', p_model_used,
    'move', jsonb_build_object('from', p_from, 'to', p_to, 'grant_ids', p_grant_ids, 'grant_tokens', p_grant_tokens)));
  return p_entry;
end
$$;
comment on function tokenbook.as_move is
  'An entry as one of 0 tokens that moves tokens between a hold and its child: its terms have {move: {from, to, grant_ids, grant_tokens}, model}.';
