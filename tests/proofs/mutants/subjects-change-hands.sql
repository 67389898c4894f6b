-- A subject moves to the user for whom it was registered last, even to a user that does not exist.
select pg_temp.mutate('subjects-stay', 'v_is_replaced := (v_former_user_id <> p_user_id) is true;');
select pg_temp.mutate('subjects-of-users-only', 'if false then');
