-- A price of a model may be given for a moment that is over: in the place of the one that counted then.
select pg_temp.mutate('former-prices-stay', 'v_at < v_now or ', '');
