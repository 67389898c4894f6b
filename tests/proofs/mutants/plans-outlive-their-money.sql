-- A plan whose money went back stays in force.
select pg_temp.mutate('plan-follows-the-money', 'v_taken_back_at timestamptz;');
