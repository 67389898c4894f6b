-- What had run out by then is still counted, unless it was booked.
select pg_temp.mutate('tokenbook.get_token_balance_as_of', 'coalesce(b.expires_at > p_at, true) as is_alive', 'true as is_alive');
