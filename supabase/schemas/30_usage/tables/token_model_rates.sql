-- What using models costs users, in tokens, by date. Data of the project; no migration overwrites a row.
create table public.token_model_rates (
  model_pattern text not null,
  valid_from timestamptz not null default '-infinity',
  tokens_per_input numeric,
  tokens_per_cached numeric,
  tokens_per_output numeric,
  tokens_per_reasoning numeric,
  tokens_per_image numeric,
  tokens_per_second numeric,
  markup_percent numeric,
  constraint token_model_rates_pkey primary key (model_pattern, valid_from),
  constraint token_model_rates_are_whole_or_none check (
    num_nonnulls(tokens_per_input, tokens_per_output, tokens_per_image, tokens_per_second, markup_percent) = 5
    or num_nonnulls(tokens_per_input, tokens_per_cached, tokens_per_output, tokens_per_reasoning, tokens_per_image,
                    tokens_per_second, markup_percent) = 0),
  constraint token_model_rates_are_never_negative check (
    least(tokens_per_input, tokens_per_cached, tokens_per_output, tokens_per_reasoning, tokens_per_image, tokens_per_second,
          markup_percent) >= 0),
  constraint token_model_rates_are_within_limits check (
    greatest(tokens_per_input, tokens_per_cached, tokens_per_output, tokens_per_reasoning, markup_percent) <= 1000000),
  constraint token_model_rates_of_pieces_are_within_limits check (
    greatest(tokens_per_image, tokens_per_second) <= 1000000000)
);
comment on table public.token_model_rates is
  'What using a model costs a user, in tokens, from a date on. The project''s own data, changed by set_token_model_rate; any signed-in user may read it. Of the rates whose pattern fits a model, that of its own name counts, else the longest; a row that is NULL throughout ends the rate before it. A model that none fits costs its input and output tokens.';
comment on column public.token_model_rates.model_pattern is 'The model, as token_usage.model_used names it; or how its name begins, with * after that (gpt-5*); * alone: every model.';
comment on column public.token_model_rates.valid_from is 'From when the rate holds, until a later row''s moment.';
comment on column public.token_model_rates.tokens_per_input is 'Tokens that an input token costs.';
comment on column public.token_model_rates.tokens_per_cached is 'Tokens that an input token costs which the provider had cached; NULL = as other input.';
comment on column public.token_model_rates.tokens_per_output is 'Tokens that an output token costs.';
comment on column public.token_model_rates.tokens_per_reasoning is 'Tokens that an output token costs which the model thought with; NULL = as other output.';
comment on column public.token_model_rates.tokens_per_image is 'Tokens that an image costs.';
comment on column public.token_model_rates.tokens_per_second is 'Tokens that a second of audio costs.';
comment on column public.token_model_rates.markup_percent is 'What is added to the sum of these, in percent.';

alter table public.token_model_rates enable row level security;
create policy "Everyone who is signed in reads what models cost" on public.token_model_rates
  for select to authenticated
  using (true);
