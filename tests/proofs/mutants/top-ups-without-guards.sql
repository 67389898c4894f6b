-- Asks for more tokens at every deduction below the threshold.
select pg_temp.mutate('one-request-pending', 'if false then');
select pg_temp.mutate('requests-cool-down', 'if false then');
select pg_temp.mutate('alerts-when-passed', 'true');
select pg_temp.mutate('spending-tells', 'true');
drop index public.token_top_up_requests_one_pending_key;
