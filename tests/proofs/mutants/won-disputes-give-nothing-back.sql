-- Forgets to give back what a dispute took, once it is won.
select pg_temp.mutate('tokenbook.restore_clawback', $$
begin
  v_account$$, $$
begin
  return;
  v_account$$);
