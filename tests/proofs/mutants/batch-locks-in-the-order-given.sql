-- Locks the accounts as the items come, so that two batches can wait for each other in a circle.
select pg_temp.mutate('accounts-in-one-order', 'order by array_position(p_user_ids, a.user_id)');
