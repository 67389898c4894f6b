-- Ids cannot be guessed, so who knows one must be allowed to ask.
select pg_temp.mutate('explains-own-usage', 'u.user_id = p_user_id and ', '');
