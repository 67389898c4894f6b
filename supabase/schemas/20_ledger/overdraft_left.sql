/*
 * How many tokens an account may still come to owe by using more than it has: what set_token_overdraft said of it, else
 * what the plan in force allows, less what it owes by now, whatever for. p_repaid of that is due to be repaid.
 * Caller: internal.
 */
create function tokenbook.overdraft_left(p_account public.token_accounts, p_repaid bigint default 0)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return greatest(
    tokenbook.overdraft_limit_of(p_account) - coalesce(p_account.tokens_owed, 0) + p_repaid, 0); -- @debt-uses-the-limit
end
$$;
comment on function tokenbook.overdraft_left is
  'How many tokens an account may still come to owe by using more than it has.';

-- The limit itself: 0 where nothing was said.
create function tokenbook.overdraft_limit_of(p_account public.token_accounts)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    p_account.overdraft_limit, -- @said-before-the-plan
    (select p.overdraft_tokens
       from public.token_subscriptions s
       join public.token_plans p on p.plan_type = s.plan_type -- @overdraft-of-the-plan
      where s.user_id = p_account.user_id),
    0);
end
$$;
comment on function tokenbook.overdraft_limit_of is
  'How many tokens an account may owe by using more than it has: what was said of it, else what its plan allows.';
