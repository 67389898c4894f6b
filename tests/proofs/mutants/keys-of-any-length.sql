-- Takes a key of any length: one that does not fit an index is a server error.
select pg_temp.mutate('tokenbook.check_request', 'octet_length(p_idempotency_key) > 255 or ', '');
