-- The usual deduction is for any user who is signed in, whoever it is about.
select pg_temp.mutate('private.deduct_tokens_with_fifo', $$v_role = 'authenticated' and auth.uid() = p_user_id$$, $$v_role = 'authenticated'$$);
