-- A subscription that has paid for a period says nothing of it any more once its plan is another.
select pg_temp.mutate('own-whatever-its-plan', 'v_own_id', 'v_own_id and own.plan_type = p_plan_type');
