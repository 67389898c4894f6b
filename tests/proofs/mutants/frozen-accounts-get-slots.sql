-- A schedule goes on giving while the account is frozen.
select pg_temp.mutate('frozen-gets-no-slots', $$if (v_account.state = 'active') is not true$$, 'if false');
