-- A frozen account asks for payments, is given a plan and is topped up.
select pg_temp.mutate('frozen-begins-nothing', 'if false then');
select pg_temp.mutate('frozen-asks-for-nothing', 'if false then');
select pg_temp.mutate('no-plan-while-frozen', 'perform tokenbook.lock_account(p_user_id, p_create => true); if false then');
