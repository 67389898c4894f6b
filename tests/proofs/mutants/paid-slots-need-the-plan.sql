-- A plan that was paid for gives its slots only while it is the one in force.
select pg_temp.mutate('each-payment-its-slots', '\& and one.beside = p_subscription.beside');
