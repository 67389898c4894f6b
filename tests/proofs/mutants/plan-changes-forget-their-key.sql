-- Keeps no key of a change of plan that gave no tokens.
select pg_temp.mutate('plan-change-keeps-key', '\&
      v_entry.idempotency_key := null;');
