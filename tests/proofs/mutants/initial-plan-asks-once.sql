-- Does not ask again under the lock whether somebody was faster, of the grants or of the ledger.
select pg_temp.mutate('tokenbook.grant_initial_plan', $$p_create => true);
  if exists (select from public.token_balances b where b.user_id = p_user_id) then$$, $$p_create => true);
  if false then$$);
select pg_temp.mutate('tokenbook.grant_initial_plan', $$and t.grant_ids <> '{}'$$, $$and false$$);
