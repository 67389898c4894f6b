-- What was sold, one row a sale: a payment, or a grant whose cost basis was said; and what of it reports have counted.
-- What it was sold for is read from the payment or the grant, and what became of the tokens from the ledger: this only
-- keeps how far that has been counted, and is made again from them where it is lost (tokenbook.count_sales).
create table tokenbook.sales (
  user_id uuid not null,
  sale_id uuid not null,
  since_id bigint not null,
  schedule jsonb,
  period_start timestamptz,
  period_end timestamptz,
  slots_in_all integer,
  slots integer not null default 1,
  is_counted boolean not null default false,
  slots_counted integer not null default 0,
  currency text,
  sold_cents bigint not null default 0,
  refunded_cents bigint not null default 0,
  recognised_cents bigint not null default 0,
  breakage_cents bigint not null default 0,
  tokens_given bigint not null default 0,
  tokens_used bigint not null default 0,
  tokens_ended bigint not null default 0,
  tokens_taken_back bigint not null default 0,
  tokens_clawed_back bigint not null default 0,
  tokens_lapsed bigint not null default 0,
  constraint sales_pkey primary key (user_id, sale_id)
);
comment on table tokenbook.sales is
  'What was sold, one row a sale: a payment, or a grant whose cost basis was said; and what get_token_revenue has counted of it. Written by the functions that give what was bought, and by tokenbook.count_sales.';
comment on column tokenbook.sales.user_id is 'The user.';
comment on column tokenbook.sales.sale_id is 'The payment, or the grant.';
comment on column tokenbook.sales.since_id is 'The entry of their ledger after which its tokens appear.';
comment on column tokenbook.sales.schedule is 'Of a plan that gives its tokens over time: on which schedule.';
comment on column tokenbook.sales.period_start is 'When that period began.';
comment on column tokenbook.sales.period_end is 'When that period ends; NULL = without an end.';
comment on column tokenbook.sales.slots_in_all is 'How many slots that period has: each has that part of the money. NULL = all of the money is for what was given.';
comment on column tokenbook.sales.slots is 'How many of them have begun.';
comment on column tokenbook.sales.is_counted is 'Whether it has been counted as far as its account (sale_accounts); if not, not at all.';
comment on column tokenbook.sales.slots_counted is 'Of its slots, how many are counted as begun.';
comment on column tokenbook.sales.currency is 'ISO 4217, lower case, as counted.';
comment on column tokenbook.sales.sold_cents is 'What it was sold for, as counted.';
comment on column tokenbook.sales.refunded_cents is 'What of it went back, or is withheld by disputes, as counted.';
comment on column tokenbook.sales.recognised_cents is 'What of the rest is used, as counted.';
comment on column tokenbook.sales.breakage_cents is 'What of the rest ended unused, as counted.';
comment on column tokenbook.sales.tokens_given is 'Tokens it gave, as counted.';
comment on column tokenbook.sales.tokens_used is 'Tokens of these that were used, or taken for what others had been used for.';
comment on column tokenbook.sales.tokens_ended is 'Tokens of these that ran out, were voided, or taken by a correction.';
comment on column tokenbook.sales.tokens_taken_back is 'Tokens of these that went back with its money.';
comment on column tokenbook.sales.tokens_clawed_back is 'Tokens that went back with its money, whatever they were taken from.';
comment on column tokenbook.sales.tokens_lapsed is 'Of these, how many had run out or been voided before.';
alter table tokenbook.sales enable row level security;

-- How far the ledger of each user who has bought something is counted.
create table tokenbook.sale_accounts (
  user_id uuid primary key,
  counted_id bigint not null,
  changed_at timestamptz,
  next_end_at timestamptz
);
comment on table tokenbook.sale_accounts is
  'How far the ledger of each user who has bought something is counted in tokenbook.sales and tokenbook.revenue_totals.';
comment on column tokenbook.sale_accounts.user_id is 'The user.';
comment on column tokenbook.sale_accounts.counted_id is 'The last entry of their ledger that is counted.';
comment on column tokenbook.sale_accounts.changed_at is 'When money of theirs has changed that is not counted; NULL = none has.';
comment on column tokenbook.sale_accounts.next_end_at is 'When the first of their paid periods ends that gives tokens over time, and is not counted to its end.';
alter table tokenbook.sale_accounts enable row level security;

-- How far the round of these users has come that looks for what is not counted: one row.
create table tokenbook.sale_rounds (
  is_only boolean primary key default true,
  begun_at timestamptz,
  next_id uuid,
  whole_at timestamptz,
  constraint sale_rounds_are_one check (is_only)
);
comment on table tokenbook.sale_rounds is
  'How far the round has come in which tokenbook.count_sales looks at everybody in tokenbook.sale_accounts, where they are more than one call looks at. At most one row, which the call that counts has locked.';
comment on column tokenbook.sale_rounds.is_only is 'True: there is one row.';
comment on column tokenbook.sale_rounds.begun_at is 'When the round that is under way began; NULL = none is.';
comment on column tokenbook.sale_rounds.next_id is 'The user with whom it goes on.';
comment on column tokenbook.sale_rounds.whole_at is 'When the last round began that came to its end: all that was booked before is counted.';
alter table tokenbook.sale_rounds enable row level security;

-- What was sold and what became of it, added up by day, for the report.
create table tokenbook.revenue_totals (
  starts_at timestamptz not null,
  currency text not null,
  sold_cents numeric not null,
  refunded_cents numeric not null,
  recognised_cents numeric not null,
  breakage_cents numeric not null,
  constraint revenue_totals_pkey primary key (starts_at, currency)
);
comment on table tokenbook.revenue_totals is
  'What was sold and what became of it, by day (UTC) and currency, of what tokenbook.sale_accounts says is counted. Written by tokenbook.count_sales, read by get_token_revenue.';
comment on column tokenbook.revenue_totals.starts_at is 'When that day (UTC) begins.';
comment on column tokenbook.revenue_totals.currency is 'ISO 4217, lower case.';
comment on column tokenbook.revenue_totals.sold_cents is 'What was sold, in cents.';
comment on column tokenbook.revenue_totals.refunded_cents is 'What went back, or came to be withheld by disputes; what came back is less.';
comment on column tokenbook.revenue_totals.recognised_cents is 'What was used of what was sold; what use was undone, or paid back, is less.';
comment on column tokenbook.revenue_totals.breakage_cents is 'What ended unused of what was sold.';
alter table tokenbook.revenue_totals enable row level security;
