-- A lower plan whose time has come begins only when somebody reads the balance.
select pg_temp.mutate('tokenbook.start_period', 'perform tokenbook.apply_scheduled_downgrade(p_entry.user_id);', '');
select pg_temp.mutate('tokenbook.renew_token_subscription', 'perform tokenbook.apply_scheduled_downgrade(p_user_id);', '');
