/*
 * When something of an account changes by itself next: a grant or a hold runs out (but for p_but_hold_id, which is being
 * settled), a grant begins, an alert falls due, or a plan makes it due: a slot begins, or the plan ends. One row; NULL = never.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22): where nothing is
 * to be looked for, it costs nothing.
 * Caller: internal, holding the account's lock.   Keeps: I7.
 */
create function tokenbook.next_due(p_user_id uuid, p_next_alert_at timestamptz, p_but_hold_id uuid)
returns table (at timestamptz)
language sql
stable
security invoker
as $$
  select least(
    p_next_alert_at,
    (select b.expires_at from public.token_balances b
      where b.user_id = p_user_id and b.is_open and b.expires_at is not null
      order by b.expires_at limit 1),
    (select h.expires_at from public.token_holds h
      where h.user_id = p_user_id and h.status = 'open' and h.id is distinct from p_but_hold_id
      order by h.expires_at limit 1),
    (select u.starts_at from tokenbook.upcoming_grants u
      where u.user_id = p_user_id
      order by u.starts_at limit 1), -- @begins-are-due
    (select tokenbook.plan_due_at(s.user_id) from tokenbook.subscriptions s
      where s.user_id = p_user_id and (s.next_slot_at is not null or s.expires_at is not null or s.cancel_at is not null or s.beside <> '[]')))
$$;
comment on function tokenbook.next_due is
  'When something of an account changes by itself next: a grant or hold runs out, a grant, an alert or a slot falls due, a plan ends; NULL is never.';
