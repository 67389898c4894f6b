-- A retry of a grant tells what it gave as there, though a debt has taken it.
select pg_temp.mutate('repaid-at-once', 't.created_at = p_transaction.created_at', 'false');
