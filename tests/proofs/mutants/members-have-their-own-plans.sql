-- A member of a team is asked for their own plan.
select pg_temp.mutate('plan-of-the-payer', 'v_account_id := p_user_id;');
