-- Each slot of a plan costs what the whole period does.
select pg_temp.mutate('slots-are-a-share', 'and s.slots_in_all is not null', 'and false');
