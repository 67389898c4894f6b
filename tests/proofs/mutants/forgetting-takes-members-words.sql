-- All words of an account are taken for those of whoever pays.
select pg_temp.mutate('words-of-the-person', 'where p_user_id in (t.user_id, t.member_id)');
