-- In which order grants are spent, and since when: the newest row holds; none means fifo.
create table tokenbook.burn_orders (
  since timestamptz primary key default clock_timestamp(),
  burn_order text not null,
  constraint burn_orders_are_known check (burn_order in ('fifo', 'expiring_first'))
);
comment on table tokenbook.burn_orders is
  'The project''s choices of a burn order, by the moment of each. The newest holds. Written by set_token_burn_order.';
comment on column tokenbook.burn_orders.since is 'When it was chosen.';
comment on column tokenbook.burn_orders.burn_order is 'fifo or expiring_first, as burn_order.sql says them.';
alter table tokenbook.burn_orders enable row level security;
