/*
 * Of the plans beside a subscription's, those that are worth keeping there, in their order: one whose time is not over,
 * so it may be in force again; and one that was paid for and owes slots, which come in their time, or when its money
 * comes back. One that is cancelled counts as if it were not: until its period ends, its provider may say otherwise.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.kept_beside(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_agg(e.plan order by e.plan ->> 'plan_type', e.plan ->> 'period_start', e.plan ->> 'payment_id'), '[]')
      from jsonb_array_elements(p_subscription.beside) as e (plan)
     cross join lateral jsonb_populate_record(p_subscription, '{"ended_at": null}' || e.plan) one
     where one.payment_id is not null and one.next_slot_at is not null -- @owing-plans-stay
        or one.ended_at is null and (one.expires_at + one.grace_days * interval '24 hours' <= p_at) is not true);
end
$$;
comment on function tokenbook.kept_beside is
  'Of the plans beside a subscription''s, those that may be in force again at that moment or later, or owe slots that were paid for.';
