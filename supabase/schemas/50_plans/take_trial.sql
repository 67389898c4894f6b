/*
 * Takes a trial: remembers it, and says how many of its tokens the user may have. One person, one trial, also where
 * two of their accounts ask at the same time: the digests are a unique key, and the transaction that inserts them first gets the trial.
 * What was paid for, or bought at a provider, is given whole, whatever the policy, and remembered: the policy stops a
 * second one before money moves (tokenbook.require_trial). What nobody asked for, the initial plan, does not begin:
 * NULL. What was asked for is refused.
 * p_entry is the transaction to be: user_id, actor_role, payment_id.
 * Caller: tokenbook.start_period, holding the account's lock.   Locks: the digests.
 * Errors: trial_already_taken, trial_needs_identity, busy.
 */
create function tokenbook.take_trial(
  p_plan public.token_plans,
  p_provider_payment_id text,
  p_entry public.token_transactions
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_paid boolean := p_provider_payment_id is not null and p_plan.price_cents > 0;
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(p_entry.user_id, tokenbook.trial_key());
  v_remembered record;
  v_judged record;
begin
  if p_entry.payment_id is not null then
    select p.amount_cents > 0 or p.provider <> 'manual' into v_is_paid
      from public.token_payments p
     where p.user_id = p_entry.user_id and p.id = p_entry.payment_id;
  end if;

  -- a trial that is refused because the user cannot be recognised is not remembered
  v_judged := tokenbook.judge_trial(tokenbook.had_trial(v_identifiers), cardinality(v_identifiers) > 1);
  if v_is_paid or v_judged.refusal is distinct from 'trial_needs_identity' then
    v_remembered := tokenbook.remember_trial(p_entry.user_id);
    v_judged := tokenbook.judge_trial(v_remembered.known_before > 0, v_remembered.identifiers > 1);
  end if;

  if v_is_paid or v_judged.share = 'full' then -- @paid-trials-are-given
    return p_plan.tokens;
  elsif v_judged.share = 'reduced' then
    return tokenbook.reduced_trial(p_plan, v_judged.reduced_percent, v_judged.reduced_tokens);
  elsif p_entry.actor_role <> 'system' then
    perform tokenbook.refuse(v_judged.refusal, '{}');
  end if;
  return null;
end
$$;
comment on function tokenbook.take_trial is
  'Remembers a trial, and returns how many of its tokens the user may have; NULL where nobody asked for it and the policy gives none, a refusal where somebody did.';
