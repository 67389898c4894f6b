-- Deducts for an operation whether it succeeded or not.
select pg_temp.mutate('failed-costs-nothing', 'p_user_id, v_tokens_used,');
