-- A plan that was cancelled goes on for its days of grace.
select pg_temp.mutate('cancelled-has-no-grace', $$p_subscription.cancel_at + p_subscription.grace_days * interval '24 hours',$$);
