-- Locks the accounts as the items come, so that two batches can wait for each other in a circle.
select pg_temp.mutate('tokenbook.lock_accounts', $$   where a.user_id = any (p_user_ids)
   order by a.user_id$$, $$   where a.user_id = any (p_user_ids)
   order by array_position(p_user_ids, a.user_id)$$);
