-- Who joins or leaves a team does not stand in his queue.
select pg_temp.mutate('private.add_team_member', 'perform private.queue_for_account(p_member_id);', '');
select pg_temp.mutate('private.remove_team_member', 'perform private.queue_for_account(p_member_id);', '');
