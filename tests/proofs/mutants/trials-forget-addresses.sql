-- Trials are remembered by account and identity, not by address.
select pg_temp.mutate('trials-by-address', '''email''', '''email'', p_user_id');
