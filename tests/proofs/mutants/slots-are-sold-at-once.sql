-- What a plan will give is spread over what it has given.
select pg_temp.mutate('slot-is-a-share', 'r.slots < r.slots_in_all', 'false');
