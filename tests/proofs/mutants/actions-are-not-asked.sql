-- A grant for some actions pays for any.
select pg_temp.mutate('pays-for-its-actions', $$p_pays_for -> 'actions' ? p_action_type$$, 'true');
