-- The items of a batch that take the fast path do not ask whether their accounts' grants pay for everything.
select pg_temp.mutate('batch-pays-for-everything', '');
