-- What was booked to another user for a part of a payment stays theirs.
select pg_temp.mutate('parts-of-anybody', '\& and f.user_id = p_facts.user_id');
