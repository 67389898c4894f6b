/*
 * The entry at which a user's balance was last taken as right; what was before it is settled. The latest of:
 * the opening balance (which is checked itself); a restatement; an admin's grant or deduction whose reason begins
 * with `reconciliation`, whole or not; and one, whatever its reason, that closed what was off
 * (tokenbook.live_difference).
 * Caller: internal.   Returns no entry (all NULL) when the books began empty and nothing was repaired.
 */
create function tokenbook.last_repair(p_user_id uuid, p_now timestamptz)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_opening public.token_transactions;
  v_base public.token_transactions;
  v_differences jsonb;
  v_settled_id bigint;
begin
  select t.* into v_base
    from public.token_transactions t
   where t.user_id = p_user_id
     and (t.entry_type in ('opening_balance', 'restatement')
          or (t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^[[:space:]]*reconciliation'))
   order by t.id desc
   limit 1;
  if exists (
    select 1 from public.token_transactions t
     where t.user_id = p_user_id and t.id > coalesce(v_base.id, 0) and t.action_type in ('admin_grant', 'admin_deduct'))
  then
    select t.* into v_opening
      from public.token_transactions t
     where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
    select jsonb_agg(jsonb_build_object(
             'at', greatest(d.created_at, v_opening.created_at), 'tokens', d.tokens, 'grant_id', d.grant_id))
      into v_differences
      from tokenbook.token_differences(p_user_id, v_opening, v_base) d
     where not d.is_settled and d.tokens <> 0;
    if v_differences is not null then
      v_settled_id := (tokenbook.live_difference(p_user_id, v_differences, p_now)).settled_id;
      if v_settled_id is not null then
        select t.* into v_base from public.token_transactions t where t.user_id = p_user_id and t.id = v_settled_id;
      end if;
    end if;
  end if;
  return v_base;
end
$$;
comment on function tokenbook.last_repair is
  'The entry at which a user''s balance was last taken as right: the opening, a restatement, or a repair.';
