-- Whoever is signed in is told whether somebody else had a trial.
select pg_temp.mutate('trials-of-oneself', 'authorize(p_user_id,', 'authorize(coalesce(auth.uid(), p_user_id),');
