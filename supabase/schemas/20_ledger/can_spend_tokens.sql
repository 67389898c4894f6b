/*
 * Whether a user could spend so many tokens now: what tokenbook.deduct_tokens_with_fifo would answer in `success`,
 * without doing it. For policies of the project's own tables, and for whatever else only asks: it writes nothing, locks
 * nothing, and sees what the statement sees that asks. What is due counts as if it were booked, and so does the
 * plan that a first touch would give; a spend cap counts, a member of a team is answered for their payer's account.
 * It reserves nothing: another call may spend the tokens first. What costs tokens is paid by spending them.
 * Caller: the user for themself (p_user_id left out), an admin, service_role. A policy needs an answer: a caller who may
 * not ask, or is not signed in, is answered false. Written as (select public.can_spend_tokens(10)) it is asked once a statement.
 * Where grants pay only for some things, those count that pay for this action and this model.
 * Locks: nothing.   Errors: invalid_amount, invalid_action_type, invalid_usage, invalid_user_id, subject_not_registered,
 * busy.   Keeps: I7, I11.
 */
-- Security definer: a policy runs as the signed-in user, who may not read what is looked at here.
create function tokenbook.can_spend_tokens(
  p_tokens bigint default 1,
  p_user_id uuid default tokenbook.caller_id(),
  p_action_type text default 'deduction',
  p_model_used text default null
)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_account public.token_accounts;
  v_account_id uuid := p_user_id;
  v_member_id uuid;
  v_remaining bigint;
  v_repaid bigint := 0;
  v_plan public.token_plans;
begin
  if not tokenbook.is_plain_server_call(p_user_id) and not tokenbook.is_call_answered(p_user_id) then
    return false; -- @spending-of-ones-own
  end if;
  perform tokenbook.check_tokens('p_tokens', p_tokens);
  perform tokenbook.check_action_type(p_action_type);
  perform tokenbook.check_model(p_model_used);

  -- as a rule nothing about it is unusual: the account that tokenbook.spend_tokens takes at once
  perform 1 from public.token_accounts a
    where a.user_id = p_user_id
      and a.payer_id is null
      and not a.has_caps
      and a.restricted_until is null
      and a.tokens_remaining >= p_tokens
      and a.state = 'active' -- @asked-not-frozen
      and (a.next_due_at <= v_now) is not true -- @asked-nothing-due
      and exists (select 1 from tokenbook.project_settings r where not r.has_common_caps);
  if found then
    return true;
  end if;

  -- what is unusual, as tokenbook.decide_spending has it
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if v_account.payer_id is not null then
    v_member_id := p_user_id;
    v_account_id := v_account.payer_id;
    select a.* into v_account from public.token_accounts a where a.user_id = v_account_id;
  end if;
  if tokenbook.is_frozen(v_account, v_member_id) then
    return false; -- @frozen-cannot-spend
  end if;
  v_account.user_id := v_account_id; -- of whom there is no account yet, caps may be known
  v_remaining := coalesce(v_account.tokens_remaining, 0);
  if v_account.next_due_at <= v_now then
    if tokenbook.has_backlog(v_account_id, p_portions => 10) then
      perform tokenbook.refuse('busy', '{}');
    end if;
    select v_remaining - due.lost + due.returned + due.given - due.repaid, due.repaid into v_remaining, v_repaid -- @asked-with-dues
      from tokenbook.tokens_due(v_account_id, v_now) as due;
  end if;
  if v_remaining < p_tokens then
    v_plan := tokenbook.plan_to_begin(v_account_id);
    if v_plan.plan_type is null then
      return false;
    end if;
    v_remaining := v_plan.tokens - coalesce(v_account.tokens_owed, 0);
  elsif v_account.restricted_until > v_now then -- @asked-what-pays
    v_remaining := tokenbook.tokens_payable(
      v_account_id, p_tokens, v_now, coalesce(v_account.next_due_at <= v_now, false), v_repaid, p_action_type, p_model_used);
  end if;
  return v_remaining >= p_tokens
    and ((tokenbook.spend_headroom(v_account, v_member_id, v_now)).headroom < p_tokens) is not true -- @asked-with-caps
    and not exists ( -- caps of a plan that begins with it
      select 1 from public.token_default_spend_caps d where d.plan_type = v_plan.plan_type and d.tokens < p_tokens);
end
$$;
comment on function tokenbook.can_spend_tokens is
  'Whether the user could spend so many tokens now (1 to 10^12; default 1): true exactly where deduct_tokens_with_fifo would succeed; nothing is changed, and nothing is promised. Stable, for row level security: write (select can_spend_tokens(10)), and it is asked once a statement. For the user themself (leave p_user_id out), an admin, or the server; to anybody else, and without a user, it says false. What is due is counted as if it were booked, spend caps count, of restricted grants those count that pay for p_action_type (left out: deduction) and p_model_used; a frozen account cannot; a member of a team is told of their payer''s account. Errors: invalid_amount, invalid_action_type, invalid_usage, invalid_user_id (the server, without a user), subject_not_registered, busy (more is due than ten calls book).';
