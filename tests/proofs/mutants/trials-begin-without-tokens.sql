-- A trial that was to follow begins by itself, without its tokens and without anybody asking the policy.
select pg_temp.mutate('trials-begin-with-tokens', 'return p_plan.price_cents = 0;');
