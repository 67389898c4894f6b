-- Who joins or leaves a team does not stand in his queue.
select pg_temp.mutate('tokenbook.add_token_team_member', 'perform tokenbook.queue_for_account(p_member_id);', '');
select pg_temp.mutate('tokenbook.remove_token_team_member', 'perform tokenbook.queue_for_account(p_member_id);', '');
