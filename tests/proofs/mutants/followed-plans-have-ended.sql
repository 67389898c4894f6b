-- A user who asked for a lower plan at the end of the period gets the alert that the higher one has ended.
select pg_temp.mutate('followed-has-not-ended', 'and not v_plan.was_followed', '');
