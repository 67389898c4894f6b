-- Freezing a member locks the member's own account and not the payer's.
select pg_temp.mutate('freezes-under-both-locks', 'perform tokenbook.lock_account(p_user_id);');
