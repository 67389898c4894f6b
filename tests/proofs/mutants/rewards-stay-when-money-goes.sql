-- A refund leaves the rewards of a referral.
select pg_temp.mutate('rewards-follow-the-money', 'v_is_taken_back := false;');
