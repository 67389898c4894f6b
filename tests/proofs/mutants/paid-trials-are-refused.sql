-- The policy is asked about a trial that has been paid for.
select pg_temp.mutate('paid-trials-are-given', 'v_is_paid or ', '');
