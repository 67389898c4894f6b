-- What models cost the project, by date. Data of the project; no migration overwrites a row.
create table public.token_model_prices (
  model text not null,
  valid_from timestamptz not null default '-infinity',
  input_cents_per_million numeric,
  cached_input_cents_per_million numeric,
  output_cents_per_million numeric,
  cents_per_image numeric,
  cents_per_minute numeric,
  source text not null default 'manual',
  constraint token_model_prices_pkey primary key (model, valid_from),
  constraint token_model_prices_are_never_negative check (
    input_cents_per_million >= 0 and cached_input_cents_per_million >= 0 and output_cents_per_million >= 0
    and cents_per_image >= 0 and cents_per_minute >= 0),
  constraint token_model_prices_are_numbers check (
    coalesce(input_cents_per_million, 0) + coalesce(cached_input_cents_per_million, 0)
    + coalesce(output_cents_per_million, 0) + coalesce(cents_per_image, 0) + coalesce(cents_per_minute, 0)
    < 'infinity'),
  constraint token_model_prices_source_is_known check (source in ('manual', 'synced'))
);
comment on table public.token_model_prices is
  'What each model costs the project, in cents, from a date on. The project''s own data, changed by set_token_model_price. A price that is NULL is not known, and neither is then the cost of what uses it.';
comment on column public.token_model_prices.model is 'The model, as token_usage.model_used names it.';
comment on column public.token_model_prices.valid_from is 'From when these prices hold, until a later row''s moment.';
comment on column public.token_model_prices.input_cents_per_million is 'Cents per million input tokens.';
comment on column public.token_model_prices.cached_input_cents_per_million is 'Cents per million of the input tokens that the provider had cached; NULL = as other input.';
comment on column public.token_model_prices.output_cents_per_million is 'Cents per million output tokens, reasoning included.';
comment on column public.token_model_prices.cents_per_image is 'Cents per image made.';
comment on column public.token_model_prices.cents_per_minute is 'Cents per minute of audio.';
comment on column public.token_model_prices.source is 'Where the price comes from: manual (a person; tokenbook prices sync does not overwrite it) or synced (a catalogue, by tokenbook prices sync).';

alter table public.token_model_prices enable row level security;
create policy "Everyone who is signed in reads the prices" on public.token_model_prices
  for select to authenticated
  using (true);
