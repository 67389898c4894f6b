-- Users whose books were moved to another project, or came from one: a row each, with the move that it was. Written by
-- `tokenbook move` alone, at both ends, in the steps that decision 77 lists.
create table tokenbook.moves (
  user_id uuid not null,
  id uuid not null,
  direction text not null,
  phase text not null,
  place text,
  former_state text not null,
  proof jsonb,
  started_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz,
  constraint moves_pkey primary key (user_id, id, direction),
  constraint moves_phase_is_known check (
    case direction
      when 'out' then phase in ('moving', 'moved', 'taken_back')
      when 'in' then phase in ('arriving', 'arrived', 'discarded')
      else false
    end),
  constraint moves_former_state_is_known check (former_state in ('active', 'frozen')),
  constraint moves_place_is_a_name check (place ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint moves_out_say_where_to check (direction = 'in' or place is not null),
  constraint moves_are_settled_once check ((phase in ('moving', 'arriving')) = (settled_at is null))
);
comment on table tokenbook.moves is
  'Users whose books were moved to another project, or came from one. Written by tokenbook move.';
comment on column tokenbook.moves.user_id is 'The user.';
comment on column tokenbook.moves.id is 'The move: the same at both ends, and for all that were moved together.';
comment on column tokenbook.moves.direction is 'out (to another project) or in (from one).';
comment on column tokenbook.moves.phase is 'How far it is: out moving, moved or taken_back; in arriving, arrived or discarded.';
comment on column tokenbook.moves.place is 'What the other project is called, as the operator named it; what account_moved says. NULL: not said.';
comment on column tokenbook.moves.former_state is 'The state of the account before, which it has again afterwards.';
comment on column tokenbook.moves.proof is 'What was compared at both ends (tokenbook.prove_books).';
comment on column tokenbook.moves.started_at is 'When it began, at this end.';
comment on column tokenbook.moves.settled_at is 'When it was settled, at this end.';
create index moves_id_idx on tokenbook.moves (id, direction);
alter table tokenbook.moves enable row level security;
