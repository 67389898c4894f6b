-- A trial is given while somebody signs up, before their identity is known.
select pg_temp.mutate('trials-know-identities', '(p_is_new and v_plan.grant_type = ''trial'')', 'false');
