-- A balance by the fast path does not ask whether something has run out.
select pg_temp.mutate('nothing-open-has-expired', '');
