-- A balance as of a moment leaves out what a plan gave then after a downgrade.
select pg_temp.mutate('downgrades-are-looked-up', 'v_subscription.next_plan_type', 'v_newest.kept ->> ''next_plan_type''');
