-- Whether the period is booked is asked before the account is locked: two payments that come at once find nothing.
select pg_temp.mutate('periods-after-lock', '');
