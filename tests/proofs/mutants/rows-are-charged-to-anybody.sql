-- Whoever inserts a row has whoever it names pay for it.
select pg_temp.mutate('rows-of-ones-own', 'select ''service'' as actor_role, null::uuid as actor_id into v_actor;');
