-- What the ledger keeps of a grant's moments stays when the past is moved.
select pg_temp.mutate('terms-move-too', 't.terms, p_by', 't.terms, interval ''0''');
