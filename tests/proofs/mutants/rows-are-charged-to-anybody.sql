-- An inserted row is charged to the user that it names, also when another user inserts it.
select pg_temp.mutate('rows-of-ones-own', 'select ''service'' as actor_role, null::uuid as actor_id into v_actor;');
