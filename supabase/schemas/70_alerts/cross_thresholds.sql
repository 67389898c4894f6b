/*
 * Finds which thresholds a user's balance has crossed, and writes an alert for each: dropped or
 * depleted when fewer tokens than the threshold remain and there were not fewer before; recovered,
 * where the rule asks for it, when that ends. p_before is the balance before the entry that called;
 * p_rules_changed: the rules are others than when this account was last looked at.
 *
 * What counts is where the balance was at the last commit. A crossing that the same transaction takes
 * back (a renewal books an expiry, then the grant) is taken away again, out of the outbox too: nobody ever had
 * that balance.
 * A rule that is new or was changed, and a plan limit that moved, raise nothing by themselves; from then on
 * they count.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side.
 */
create function tokenbook.cross_thresholds(
  p_account public.token_accounts,
  p_before bigint,
  p_at timestamptz,
  p_rules_changed boolean,
  out alert_below bigint,
  out alert_above bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
  v_rules text[] := '{}';
  v_state tokenbook.token_alert_states;
  v_stood tokenbook.token_alert_states;
  v_alert public.token_alerts;
  v_was_below boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  for v_rule in
    select r.* from tokenbook.alert_rules_of(p_account.user_id) as r
     where r.threshold is not null
     -- in the order in which they were passed
     order by case when p_account.tokens_remaining < p_before then -r.threshold else r.threshold end, r.rule
  loop
    v_rules := v_rules || v_rule.rule;
    select s.* into v_stood from tokenbook.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = v_rule.rule;
    v_state := v_stood;
    v_state.threshold := v_rule.threshold;
    v_state.is_below := p_account.tokens_remaining < v_rule.threshold;
    v_was_below := case when v_stood.threshold = v_rule.threshold then v_stood.is_below
                        else p_before < v_rule.threshold end; -- @new-rules-tell-nothing
    v_alert := null;

    if v_state.is_below <> v_stood.is_below
      and v_stood.changed_in = pg_current_xact_id() and v_stood.changed_at >= now() -- @last-commit-counts
    then
      -- taken back
      if v_stood.is_raised then
        perform tokenbook.withdraw_alert(t.user_id, t.id)
           from public.token_alerts t
          where t.user_id = p_account.user_id and t.rule = v_rule.rule and t.epoch = v_stood.epoch
            and (t.kind = 'recovered') = not v_stood.is_below;
        v_state.epoch := v_stood.epoch - v_stood.is_below::integer;
      end if;
      v_state.changed_in := null;
    elsif v_state.is_below and not v_was_below then -- @only-crossings-tell
      v_state.epoch := coalesce(v_stood.epoch, 0) + 1;
      v_state.is_raised := true;
      v_state.changed_in := pg_current_xact_id();
      v_alert.kind := v_rule.kind;
    elsif v_was_below and not v_state.is_below then
      v_state.changed_in := pg_current_xact_id();
      -- below by the threshold of a new rule: no alert was raised for it, whatever the rule before it raised
      v_state.is_raised := v_stood.is_below and v_stood.is_raised;
      if v_rule.notify_recovered and v_state.is_raised then
        v_alert.kind := 'recovered';
      end if;
    elsif v_state.is_below and v_stood.is_below is distinct from true then
      v_state.is_raised := false; -- it was not the balance that moved, but the threshold: now, or at some time before
      v_state.changed_in := case when not p_rules_changed then pg_current_xact_id() end;
    end if;

    if v_alert.kind is not null then
      v_alert.user_id := p_account.user_id;
      v_alert.rule := v_rule.rule;
      v_alert.epoch := v_state.epoch;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'threshold_tokens', v_rule.threshold, 'threshold_percent', v_rule.threshold_percent);
      perform tokenbook.write_alert(v_alert);
    end if;
    -- a user who was always above the threshold needs no row
    if v_state is distinct from v_stood -- @alerts-armed-again
      and (v_stood.rule is not null or v_state.is_below or v_state.changed_in is not null)
    then
      v_at := clock_timestamp();
      insert into tokenbook.token_alert_states as s
        (user_id, rule, threshold, is_below, is_raised, epoch, changed_in, changed_at)
      values
        (p_account.user_id, v_rule.rule, v_state.threshold, v_state.is_below, coalesce(v_state.is_raised, false),
         coalesce(v_state.epoch, 0), v_state.changed_in, v_at)
      on conflict (user_id, rule) do update
         set threshold = excluded.threshold, is_below = excluded.is_below, is_raised = excluded.is_raised,
             epoch = excluded.epoch, changed_in = excluded.changed_in, changed_at = excluded.changed_at;
    end if;

    if v_state.is_below then
      alert_above := least(alert_above, v_rule.threshold);
    else
      alert_below := greatest(alert_below, v_rule.threshold);
    end if;
  end loop;

  -- what no longer holds is forgotten, but for the count: a rule of that name may come back
  update tokenbook.token_alert_states s
     set threshold = null, is_raised = false, changed_in = null
   where s.user_id = p_account.user_id and s.rule <> all (v_rules) and s.rule <> 'auto_top_up'
     and s.threshold is not null;
end
$$;
comment on function tokenbook.cross_thresholds is
  'Writes an alert for each threshold that the balance has crossed since the last commit, once; returns the next thresholds below and above.';
