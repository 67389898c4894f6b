/*
 * How many of p_tokens the grants have that pay for such a use, as tokenbook.take_from_grants would take them: fewer than
 * the account counts where grants are restricted. Where more grants than one entry may name would have to pay, p_tokens:
 * the deduction then refuses with the error's own name.
 * Caller: internal.   Keeps: I8, I11.
 */
create function tokenbook.tokens_payable(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_count_due boolean,
  p_skip bigint,
  p_action_type text,
  p_model_used text
)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := (tokenbook.limits() -> 'grants_in_one_entry')::integer;
begin
  return (
    select case when cardinality(chosen.grant_ids) <= v_limit then coalesce((select sum(part) from unnest(chosen.grant_tokens) part), 0)
                else p_tokens end
      from tokenbook.choose_grants(
             p_user_id, p_tokens, p_now, v_limit + 1, p_count_due, p_skip, p_action_type, p_model_used) as chosen);
end
$$;
comment on function tokenbook.tokens_payable is
  'How many of p_tokens the grants have that pay for a use of this action and this model.';
