-- A hold that had run out by then still holds, unless somebody had booked it.
select pg_temp.mutate('tokenbook.get_token_balance_as_of', 'h.expires_at <= p_at', 'false');
