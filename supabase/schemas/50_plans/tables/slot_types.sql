-- What is said of slots that are not booked; no table has it.
create type tokenbook.scheduled_slot as (slot public.token_balances, kept jsonb, refill_to bigint, filled_at timestamptz, payment_id uuid);
comment on type tokenbook.scheduled_slot is
  'What a schedule gives at most for a slot, or for several that were missed: the grant to be, what its entry keeps, up to what it fills and when that is looked at, and the payment that paid for the plan.';

create type tokenbook.due_slot as (slot public.token_balances, kept jsonb, payment_id uuid, taken_back bigint);
comment on type tokenbook.due_slot is
  'What an account is due by the schedule of its plan: the grant to be, what its entry keeps, the payment that paid for it, and how much of it is taken back at once.';
