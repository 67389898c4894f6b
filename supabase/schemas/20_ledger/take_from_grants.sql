/*
 * Takes tokens from a user's grants in burn order, of those that pay for it, and says which gave how much. The caller has
 * locked the account, booked what was due, and knows that there is enough: where the grants have less
 * than the account says, some of them are lost.
 * From no more grants than one entry may name (grants_in_one_entry of tokenbook.limits()): more is
 * refused, or with p_partial left.
 * Caller: internal.   Errors: account_lost, too_many_grants.   Keeps: I1, I4, I8, I11.
 */
create function tokenbook.take_from_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_partial boolean default false,
  p_action_type text default null,
  p_model_used text default null,
  out grant_ids uuid[],
  out grant_tokens bigint[],
  out tokens bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := (tokenbook.limits() -> 'grants_in_one_entry')::integer;
begin
  select chosen.grant_ids, chosen.grant_tokens into grant_ids, grant_tokens
    from tokenbook.choose_grants(
           p_user_id, p_tokens, p_now, v_limit, p_action_type => p_action_type, p_model_used => p_model_used) as chosen;
  tokens := coalesce((select sum(part) from unnest(grant_tokens) part), 0);
  if tokens < p_tokens then
    if cardinality(grant_ids) < v_limit then
      perform tokenbook.refuse('account_lost', '{}');
    elsif not p_partial then
      perform tokenbook.refuse('too_many_grants', jsonb_build_object('limit', tokens));
    end if;
  end if;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens,
         is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
comment on function tokenbook.take_from_grants is
  'Takes tokens from the user''s grants in burn order; returns which grants paid, how much each, and how much together: less than asked only with p_partial, where it would take more grants than one entry may name.';
