-- What the books have of the counter so far, user by user: so that a change is booked as what it changes, whatever else
-- has happened in the books, and so that a difference can be told apart into its causes. It stays when the shadow ends:
-- a later shadow of the same counter goes on from there, and books nothing a second time.
create table tokenbook.shadow_balances (
  user_id uuid not null,
  source text not null,
  amount numeric not null,
  tokens bigint not null,
  is_gone boolean not null default false,
  primary key (user_id, source)
);
comment on table tokenbook.shadow_balances is
  'What the books have of the project''s counter so far. It stays when the shadow ends, for the next one of the same counter.';
comment on column tokenbook.shadow_balances.user_id is 'The user.';
comment on column tokenbook.shadow_balances.source is 'Of which counter, as tokenbook.shadow calls it.';
comment on column tokenbook.shadow_balances.amount is 'The counter, in its own unit and exact, after the changes that are booked.';
comment on column tokenbook.shadow_balances.tokens is 'What of their tokens is from it: the opening balance and what was booked since; a debt is negative. Once the books are right: their balance less their debt, when it was last written to the counter.';
comment on column tokenbook.shadow_balances.is_gone is 'Whether their row went while nothing was noted: where it comes back, what the books have of it is not booked again.';
alter table tokenbook.shadow_balances enable row level security;
