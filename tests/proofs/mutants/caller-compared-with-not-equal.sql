-- The guard that everybody writes first: NULL <> anything is NULL, so a token without a subject passes.
select pg_temp.mutate('tokenbook.authorize', $$
begin
  if v_role = 'none' then$$, $$
begin
  if auth.uid() <> p_user_id then
    perform tokenbook.refuse('forbidden');
  end if;
  actor_role := 'service';
  return;
  if v_role = 'none' then$$);
