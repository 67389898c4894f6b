-- What a whole period gives is said to be what one slot of it gives.
alter table public.token_plans drop column tokens_per_period;
alter table public.token_plans add column tokens_per_period bigint generated always as (tokens) stored;
