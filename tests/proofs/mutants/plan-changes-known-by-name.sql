-- What calls itself a change of plan is one; and may call itself so.
select pg_temp.mutate('names-are-reserved', 'return ''{}'';');
select pg_temp.mutate('plan-changes-use-nothing', '', p_places => 2);
