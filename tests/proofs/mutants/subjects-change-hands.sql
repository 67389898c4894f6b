-- Whoever registers a subject last has it, and so has nobody at all.
select pg_temp.mutate('subjects-stay', 'v_is_replaced := (v_former_user_id <> p_user_id) is true;');
select pg_temp.mutate('subjects-of-users-only', 'if false then');
