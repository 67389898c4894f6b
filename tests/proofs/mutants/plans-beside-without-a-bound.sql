-- Any number of paid periods run at once, and each call looks at all of them.
select pg_temp.mutate('paid-plans-are-bounded', '');
