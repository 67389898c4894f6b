-- What goes beyond a hold is not owed.
select pg_temp.mutate('overdrawn-beyond-the-hold', 'v_allowed + v_overdrawn >= v_beyond', 'false');
