-- What actions cost users, in tokens. Data of the project; no migration overwrites a row.
create table public.token_action_costs (
  action_type text primary key,
  min_tokens bigint not null,
  max_tokens bigint not null,
  constraint token_action_costs_name_is_plain check (action_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  constraint token_action_costs_are_within_limits
    check (min_tokens >= 0 and min_tokens <= max_tokens and max_tokens <= 1000000000000)
);
comment on table public.token_action_costs is
  'What each action costs a user: the tokens counted, at least min_tokens and at most max_tokens; a fixed price has both the same. An action that is not listed costs what was counted. The project''s own data, changed by set_token_action_cost; any signed-in user may read it.';
comment on column public.token_action_costs.action_type is 'The action.';
comment on column public.token_action_costs.min_tokens is 'Tokens that it costs at least.';
comment on column public.token_action_costs.max_tokens is 'Tokens that it costs at most.';

alter table public.token_action_costs enable row level security;
create policy "Everyone who is signed in reads what actions cost" on public.token_action_costs
  for select to authenticated
  using (true);
