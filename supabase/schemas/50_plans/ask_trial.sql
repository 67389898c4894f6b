/*
 * What the policy would give of a trial to this user now. Nothing is remembered, so the answer binds nobody:
 * tokenbook.take_trial decides. Where there is no key yet, nobody has had a trial, and any key will do.
 * Caller: internal.
 */
create function tokenbook.ask_trial(
  p_user_id uuid,
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
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(
    p_user_id, coalesce((select k.key from tokenbook.trial_keys k where k.is_current), ''));
begin
  select j.share, j.refusal, j.reduced_percent, j.reduced_tokens
    into share, refusal, reduced_percent, reduced_tokens
    from tokenbook.judge_trial(tokenbook.had_trial(v_identifiers), cardinality(v_identifiers) > 1) j;
end
$$;
comment on function tokenbook.ask_trial is 'What the policy would give of a trial to this user now; remembers nothing.';
