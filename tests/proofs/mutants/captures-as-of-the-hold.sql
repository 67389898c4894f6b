-- What is captured beyond a hold is looked at as of when the hold was made: a member who has left drains the payer.
select pg_temp.mutate('beyond-holds-is-new', 'v_has_left := false;');
