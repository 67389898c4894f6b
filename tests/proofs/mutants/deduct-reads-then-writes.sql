-- What most apps do: read the balance, look whether it is enough, write what is left.
create or replace function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid, p_tokens_to_deduct bigint, p_action_type text default 'deduction',
  p_idempotency_key text default null, p_metadata jsonb default null
)
returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint;
begin
  select b.tokens_remaining into v_left from public.token_balances b where b.user_id = p_user_id;
  if v_left < p_tokens_to_deduct then
    return jsonb_build_object('success', false);
  end if;
  v_left := v_left - p_tokens_to_deduct;
  update public.token_balances b set tokens_remaining = v_left, is_open = v_left > 0 where b.user_id = p_user_id;
  return jsonb_build_object('success', true);
end
$$;
