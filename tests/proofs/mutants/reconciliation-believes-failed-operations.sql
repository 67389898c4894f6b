-- Takes a failed operation for one that succeeded, and so never finds one that was deducted.
select pg_temp.mutate('tokenbook.audit_trail', $$when not c.success then 0
           else -$$, $$else -$$);
