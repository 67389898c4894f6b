-- Knows a payment only by the event that told of it: another event about it pays once more.
select pg_temp.mutate('tokenbook.settle_payment', 'and p.provider_payment_id = p_facts.provider_payment_id;', 'and false;');
drop index public.token_payments_provider_key;
