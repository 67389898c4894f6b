-- A plan with a balance cap gives less to who upgrades to it, too.
select pg_temp.mutate('cap-on-renewals-only', $$p_entry.action_type = 'renewal_grant'$$, 'p_entry.payment_id is null');
