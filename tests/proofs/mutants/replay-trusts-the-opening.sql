-- Old grants begin with what the opening balance says, which is what is to be checked.
select pg_temp.mutate('old-grants-begin-whole', '\& and b.legacy_transaction_id is null');
