-- Where a project never had alert rules, those that came with a user are not looked at when their plan changes.
select pg_temp.mutate('rules-that-came-along', 'r.user_id = p_user_id', 'false');
