-- Who has left a team, or is a member, is no reason to bring the payer.
select pg_temp.mutate('members-bring-their-payer', 't.member_id = p.id', 'false');
