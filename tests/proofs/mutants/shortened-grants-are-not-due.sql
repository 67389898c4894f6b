-- A grant that is to end sooner is due when it was before.
select pg_temp.mutate('due-by-new-expiry', 'v_entry);');
