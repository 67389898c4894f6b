-- Spending from grants does not ask what they pay for.
select pg_temp.mutate('passes-over-the-restricted', 'tokenbook.pays_for(v_open.pays_for, p_action_type, p_model_used)', 'true');
