-- A lower plan whose time has come begins only when somebody reads the balance.
select pg_temp.mutate('private.start_period', 'perform private.take_up_next_plan(p_entry.user_id);', '');
select pg_temp.mutate('private.renew_subscription', 'perform private.take_up_next_plan(p_user_id);', '');
