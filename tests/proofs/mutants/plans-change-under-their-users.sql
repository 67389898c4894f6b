-- How long the periods of a plan are can change while users are in one.
select pg_temp.mutate('plans-in-use-stay', '\& and false');
