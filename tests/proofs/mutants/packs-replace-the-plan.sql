-- A pack is given as if it were a plan: its tokens are there, and the plan that was paid for is over.
select pg_temp.mutate('packs-leave-the-plan', 'select p.* into v_plan from public.token_plans p order by p.rank desc limit 1;
      v_plan.tokens := v_grant.tokens_granted;
      v_given := tokenbook.start_period(v_plan, null, p_payment.provider, p_payment.provider_payment_id, p_entry);');
