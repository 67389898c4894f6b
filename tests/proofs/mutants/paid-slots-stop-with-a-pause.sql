-- A pause or a cancellation ends the slots of what was paid for, and the money is kept.
select pg_temp.mutate('paid-slots-come', 'p_subscription.taken_back_at', 'p_subscription.taken_back_at, p_subscription.paused_at, p_subscription.cancel_at');
