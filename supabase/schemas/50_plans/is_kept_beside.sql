/*
 * Whether a plan is worth keeping beside another: its time is not over, so it may be in force again; or it was paid
 * for and owes slots, which come in their time, or when its money comes back. One that is cancelled counts as if it
 * were not: until its period ends, its provider may say otherwise.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.is_kept_beside(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_subscription.payment_id is not null and p_subscription.next_slot_at is not null -- @owing-plans-stay
    or p_subscription.ended_at is null
      and (p_subscription.expires_at + p_subscription.grace_days * interval '24 hours' <= p_at) is not true;
end
$$;
comment on function tokenbook.is_kept_beside is
  'Whether a plan may be in force again at that moment or later, or owes slots that were paid for.';
