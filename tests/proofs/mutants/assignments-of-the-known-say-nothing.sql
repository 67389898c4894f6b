-- An assignment that names the user who is known already is not kept, so it decides nothing.
select pg_temp.mutate('assigned-though-known', ' or v_facts.parked_reason in (''second_in_period'', ''paid_with_credit'')', '');
