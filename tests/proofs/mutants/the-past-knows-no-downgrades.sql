-- Who looks back at a moment is not told what a plan gave then that a downgrade had led to.
select pg_temp.mutate('downgrades-are-looked-up', 'v_subscription.next_plan_type', 'v_newest.kept ->> ''next_plan_type''');
