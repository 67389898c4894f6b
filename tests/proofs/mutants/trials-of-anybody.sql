-- A signed-in user is told whether another user had a trial.
select pg_temp.mutate('trials-of-oneself', 'authorize(p_user_id,', 'authorize(coalesce(tokenbook.caller_id(), p_user_id),');
