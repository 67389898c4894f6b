-- A period takes the state of every subscription to its plan, besides the one that paid for it.
select pg_temp.mutate('no-other-than-own', 'v_own_id is null', 'v_own_id is distinct from any_one.provider_subscription_id');
