-- A plan with a balance cap gives less to who upgrades to it, too.
select pg_temp.mutate('tokenbook.start_period', $$p_entry.action_type = 'renewal_grant'$$, 'p_entry.payment_id is null');
