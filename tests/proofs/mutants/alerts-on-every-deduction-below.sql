-- Looks whether the balance is below, and not whether it was already.
select pg_temp.mutate('tokenbook.record_transaction', 'a.tokens_remaining < a.alert_below or', 'true or');
select pg_temp.mutate('tokenbook.cross_thresholds', 'elsif v_state.is_below and not v_was_below then', 'elsif v_state.is_below then');
