-- All words of an account count as the payer's.
select pg_temp.mutate('words-of-the-person', 'where p_user_id in (t.user_id, t.member_id)');
