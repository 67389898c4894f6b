-- Spends the newest grant first.
create or replace function private.take_from_grants(
  p_user_id uuid, p_tokens bigint, out grant_ids uuid[], out grant_tokens bigint[]
)
returns record language plpgsql volatile security invoker set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_grant record;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_grant in
    select b.id, b.tokens_remaining from public.token_balances b
     where b.user_id = p_user_id and b.is_open
     order by b.priority, b.granted_at desc, b.id
  loop
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || least(v_grant.tokens_remaining, v_needed);
    v_needed := v_needed - v_grant.tokens_remaining;
    exit when v_needed <= 0;
  end loop;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens, is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
