-- A child gets grants that do not pay for what it is for.
select pg_temp.mutate('passes-on-what-pays', 'tokenbook.pays_for(b.pays_for, p_action_type, p_model_used)', 'true');
