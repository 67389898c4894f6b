/*
 * What the project's policy gives of a trial: all of it (full), a part (reduced), or nothing (none) and why.
 * A first trial is given in full to a user who can be recognised the next time. A user who is known by nothing but their
 * id is treated like one who had a trial: else each anonymous sign-in would be another person.
 * Caller: internal.
 */
create function tokenbook.judge_trial(
  p_had_one boolean,
  p_is_recognisable boolean,
  out share text,
  out refusal text,
  out reduced_percent integer,
  out reduced_tokens bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chosen tokenbook.chosen_trial_policy;
begin
  select c.* into v_chosen from tokenbook.chosen_trial_policy c where c.is_current;
  if v_chosen.policy = 'allow' or (p_is_recognisable and not p_had_one) then
    share := 'full';
  elsif v_chosen.policy = 'reduced' then
    share := 'reduced';
    reduced_percent := v_chosen.reduced_percent;
    reduced_tokens := v_chosen.reduced_tokens;
  else
    share := 'none';
    refusal := case when p_had_one then 'trial_already_taken' else 'trial_needs_identity' end;
  end if;
end
$$;
comment on function tokenbook.judge_trial is
  'What the policy gives of a trial to somebody who had one or not, and whom one can recognise or not: full, reduced or none, with the refusal.';
