/*
 * Takes tokens from a user's grants in burn order and says which gave how much. The caller has
 * locked the account, booked what was due, and knows that there is enough: where the grants have less
 * than the account says, some of them are lost.
 * Caller: internal.   Errors: account_lost.   Keeps: I1, I4, I8.
 */
create function tokenbook.take_from_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select chosen.grant_ids, chosen.grant_tokens into grant_ids, grant_tokens
    from tokenbook.choose_grants(p_user_id, p_tokens, p_now) as chosen;
  if coalesce((select sum(part) from unnest(grant_tokens) part), 0) < p_tokens then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens,
         is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
comment on function tokenbook.take_from_grants is
  'Takes tokens from the user''s grants in burn order; returns which grants paid and how much each.';
