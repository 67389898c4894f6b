-- A deduction by the fast path is for any user who is signed in, whoever it is about.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', $$current_setting('role') <> 'service_role'$$, 'false');
