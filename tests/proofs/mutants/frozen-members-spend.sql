-- Of a team only the payer's account is asked whether it is frozen.
select pg_temp.mutate('frozen-members-too', 'p_member_id is not null', 'false');
