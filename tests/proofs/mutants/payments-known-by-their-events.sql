-- Knows a payment only by the event that told of it: another event about it pays once more.
select pg_temp.mutate('payment-known-by-id', 'and false;');
drop index public.token_payments_provider_key;
