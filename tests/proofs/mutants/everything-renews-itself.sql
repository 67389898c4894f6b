-- A plan that was paid once is shown as one that is charged again.
select pg_temp.mutate('renewed-by-somebody', 'v_new.auto_renew := p_plan.billing_cycle <> ''none'';');
