-- The account is not told when a grant to come begins: a spending call does not look for it.
select pg_temp.mutate('due-when-it-begins', 'p_due_at => p_grant.granted_at', 'p_due_at => null');
