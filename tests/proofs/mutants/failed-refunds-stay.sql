-- A refund that failed has still taken the money.
select pg_temp.mutate('failed-refunds-come-back', '(''pending'', ''succeeded'')', '(''pending'', ''succeeded'', ''failed'', ''canceled'')');
