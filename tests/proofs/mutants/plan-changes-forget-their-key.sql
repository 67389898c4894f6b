-- Keeps no key of a change of plan that gave no tokens.
select pg_temp.mutate('tokenbook.change_token_plan', $$      v_entry.entry_type := 'usage';$$,
  $$      v_entry.entry_type := 'usage';
      v_entry.idempotency_key := null;$$);
