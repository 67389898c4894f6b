-- The guard that everybody writes first: NULL <> anything is NULL, so a token without a subject passes.
select pg_temp.mutate('caller-must-be-known', $$if tokenbook.caller_id() <> p_user_id then
    perform tokenbook.refuse('forbidden');
  end if;
  actor_role := 'service';
  return;
  \&$$);
