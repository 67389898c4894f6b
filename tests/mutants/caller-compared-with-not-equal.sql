-- The guard that everybody writes first: NULL <> anything is NULL, so a token without a subject passes.
select pg_temp.mutate('private.authorize', $$
begin
  if v_role = 'none' then$$, $$
begin
  if auth.uid() <> p_user_id then
    perform private.refuse('forbidden');
  end if;
  actor_role := 'service';
  return;
  if v_role = 'none' then$$);
