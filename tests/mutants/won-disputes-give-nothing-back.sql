-- Forgets to give back what a dispute took, once it is won.
create or replace function private.restore_clawback(
  p_payment public.payments, p_tokens bigint, p_reason text, p_actor_role text, p_actor_id uuid
)
returns void language plpgsql volatile security invoker set search_path = ''
as $$
begin
  return;
end
$$;
