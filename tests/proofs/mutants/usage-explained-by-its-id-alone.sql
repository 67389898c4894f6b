-- Ids cannot be guessed, so who knows one must be allowed to ask.
select pg_temp.mutate('tokenbook.explain_token_charge', 'where u.user_id = p_user_id and u.id = p_usage_id;', 'where u.id = p_usage_id;');
