/*
 * Which grants would pay for that many tokens now, and how much each: in burn order (priority,
 * granted_at, id), stopping at the grant that covers the rest. Adds up to less when there is less.
 * The one place that knows the order: a deduction takes what this says, and a quote shows it.
 * Caller: internal.   Keeps: I7, I8.
 */
create or replace function private.choose_grants(
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
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_grant record;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_grant in
    select b.id, b.tokens_remaining
      from public.token_balances b
     where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
     order by b.priority, b.granted_at, b.id
  loop
    exit when v_needed <= 0;
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || least(v_grant.tokens_remaining, v_needed);
    v_needed := v_needed - v_grant.tokens_remaining;
  end loop;
end
$$;
comment on function private.choose_grants(uuid, bigint, timestamptz) is
  'Which grants would pay for that many tokens now, and how much each, in burn order.';
revoke all on function private.choose_grants(uuid, bigint, timestamptz) from public, anon, authenticated, service_role;
