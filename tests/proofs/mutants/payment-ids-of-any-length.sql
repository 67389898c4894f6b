-- The id of a payment may be of any length.
select pg_temp.mutate('payment-ids-are-bounded', 'elsif false then');
