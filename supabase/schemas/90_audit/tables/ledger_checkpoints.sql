/*
 * How far the chain over each user's ledger has been computed, and its digests there: at every hundredth
 * entry, and at the last one that a checkpoint has seen. So a checkpoint reads only what is new, and a
 * verification can say between which entries something was changed.
 * It proves nothing: a role that can change the ledger can change this too. The checkpoint
 * that is kept elsewhere is the proof. A user's rows may be deleted at any time; the next checkpoint makes them anew,
 * from all of their ledger.
 */
create table tokenbook.ledger_checkpoints (
  user_id uuid not null,
  id bigint not null,
  numbers bytea not null,
  words bytea not null,
  constraint ledger_checkpoints_pkey primary key (user_id, id)
);
comment on table tokenbook.ledger_checkpoints is
  'How far the chain over each user''s ledger has been computed, with its digests at every hundredth entry and at the last. Proves nothing by itself: that does what checkpoint_token_ledger returned and was kept elsewhere.';
comment on column tokenbook.ledger_checkpoints.user_id is 'The user.';
comment on column tokenbook.ledger_checkpoints.id is 'The number of the entry, among the user''s.';
comment on column tokenbook.ledger_checkpoints.numbers is 'SHA-256 over the numbers of all the user''s entries up to this one: tokens, grants, kinds, ids, moments.';
comment on column tokenbook.ledger_checkpoints.words is 'The same over what callers wrote: reason, idempotency_key, request, metadata.';
alter table tokenbook.ledger_checkpoints enable row level security;
