-- Counts what a hold has set aside as had.
select pg_temp.mutate('held-is-not-had', '= p_grant_id), 0)', '= p_grant_id and false), 0)');
