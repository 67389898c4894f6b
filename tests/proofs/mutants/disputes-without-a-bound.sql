-- Weighs any number of disputes of one payment, each reversal against each.
select pg_temp.mutate('disputes-have-a-bound', '(tokenbook.limits() -> ''payment_disputes'')::integer', '1000000');
