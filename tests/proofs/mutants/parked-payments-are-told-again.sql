-- The project is told of a parked payment with every event, the same one too.
select pg_temp.mutate('parked-told-once', 'if p_facts.parked_reason is null then');
