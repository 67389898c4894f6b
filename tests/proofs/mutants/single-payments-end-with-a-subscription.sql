-- A plan that was paid once ends with a subscription of the user to the same plan.
select pg_temp.mutate('single-payments-stand-alone', 'v_is_single', 'false');
