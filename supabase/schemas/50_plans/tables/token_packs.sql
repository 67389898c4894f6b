-- The catalogue's other half: tokens to buy once, beside any plan. Data of the project, as token_plans is.
create table public.token_packs (
  pack_type text primary key,
  name text not null,
  tokens bigint not null,
  lifetime_days integer,
  priority smallint not null default 50,
  price_cents bigint not null,
  currency text not null default 'usd',
  stripe_price_id text unique,
  former_stripe_price_ids text[] not null default '{}',
  is_offered boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint token_packs_name_is_plain check (pack_type ~ '^[a-z0-9][a-z0-9_]{0,63}$'),
  constraint token_packs_title_is_short check (length(name) between 1 and 200),
  -- as many as can be bought at once are one grant, and a grant has its limit
  constraint token_packs_tokens_are_within_limits
    check (tokens between 1 and (tokenbook.limits() -> 'pack_tokens')::bigint),
  constraint token_packs_lifetime_is_positive check (lifetime_days between 1 and 36500),
  constraint token_packs_priority_is_between_0_and_100 check (priority between 0 and 100),
  constraint token_packs_cost_something check (price_cents between 1 and 1000000000000),
  constraint token_packs_currency_is_three_letters check (currency ~ '^[a-z]{3}$'),
  constraint token_packs_stripe_price_id_is_short check (length(stripe_price_id) between 1 and 255),
  constraint token_packs_former_stripe_price_ids_are_few check (cardinality(former_stripe_price_ids) <= 100)
);

-- what set_token_pack answers when one is violated
comment on constraint token_packs_name_is_plain on public.token_packs is '1 to 64 characters of a-z 0-9 _, a letter or a digit first';
comment on constraint token_packs_title_is_short on public.token_packs is '1 to 200 characters';
comment on constraint token_packs_tokens_are_within_limits on public.token_packs is '1 to 1000000000';
comment on constraint token_packs_lifetime_is_positive on public.token_packs is '1 to 36500, or null for ever';
comment on constraint token_packs_priority_is_between_0_and_100 on public.token_packs is '0 to 100';
comment on constraint token_packs_cost_something on public.token_packs is '1 to 1000000000000: what costs nothing is given by grant_tokens';
comment on constraint token_packs_currency_is_three_letters on public.token_packs is 'three lower-case letters (ISO 4217)';
comment on constraint token_packs_stripe_price_id_is_short on public.token_packs is '1 to 255 characters';
comment on constraint token_packs_former_stripe_price_ids_are_few on public.token_packs is 'at most 100';

comment on table public.token_packs is
  'The packs: tokens that are bought once, beside any plan. The project''s own data, changed by set_token_pack; everyone may read it.';
comment on column public.token_packs.pack_type is 'The pack''s name in code.';
comment on column public.token_packs.name is 'The pack''s name for people.';
comment on column public.token_packs.tokens is 'Tokens that one of it gives, 1 to 10^9.';
comment on column public.token_packs.lifetime_days is 'Days of 24 hours that its tokens live; NULL = for ever.';
comment on column public.token_packs.priority is '0 to 100, default 50; its tokens are spent before those of a higher number.';
comment on column public.token_packs.price_cents is 'Price of one, in cents of the currency.';
comment on column public.token_packs.currency is 'ISO 4217, lower case.';
comment on column public.token_packs.stripe_price_id is 'The price at Stripe. At PayPal a pack needs none: the order names it.';
comment on column public.token_packs.former_stripe_price_ids is 'What the price was called at Stripe before: a payment at one of these still gives the pack.';
comment on column public.token_packs.is_offered is 'Whether it can be bought now.';
comment on column public.token_packs.created_at is 'When it was added.';
comment on column public.token_packs.updated_at is 'When it was last changed.';

alter table public.token_packs enable row level security;
create policy "Everyone reads the packs" on public.token_packs
  for select to anon, authenticated
  using (true);
