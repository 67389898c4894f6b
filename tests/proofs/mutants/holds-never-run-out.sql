-- Waits for somebody to settle a hold, for ever.
select pg_temp.mutate('tokenbook.record_expiries', $$h.status = 'open' and h.expires_at <= p_now$$, $$h.status = 'open' and false$$);
