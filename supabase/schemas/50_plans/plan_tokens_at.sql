/*
 * What a user has of their plan at that moment, which nothing was spent since: what is left of the subscription's
 * grants that live then, and what holds have set aside of them. Tokens on hold are not spent: a user with an open hold while a slot
 * begins would otherwise get them twice.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.plan_tokens_at(p_user_id uuid, p_subscription_id uuid, p_at timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
      select sum(b.tokens_remaining)
        from public.token_balances b
       where b.user_id = p_user_id and b.subscription_id = p_subscription_id and b.is_open
         and (b.expires_at > p_at or b.expires_at is null)), 0) -- @what-there-was-then
    + coalesce((
      select sum(part.tokens)
        from public.token_holds h
       cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
        join public.token_balances b on b.user_id = p_user_id and b.id = part.grant_id
       where h.user_id = p_user_id and h.status = 'open' -- @held-is-not-spent
         and b.subscription_id = p_subscription_id and (b.expires_at > p_at or b.expires_at is null)), 0);
end
$$;
comment on function tokenbook.plan_tokens_at is
  'What a user has at that moment of the tokens that came with their subscription, held ones included.';
