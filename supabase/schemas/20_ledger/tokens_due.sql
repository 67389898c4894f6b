/*
 * What time has changed and nobody has booked yet: tokens that the account still counts although
 * their grants have run out (lost), tokens of holds that have run out, by whether they come back
 * to a grant that lives (returned) or to one that does not (forfeited), what the schedule of their plan and grants
 * whose moment has come give (given), and what of all there is repays a debt at once (repaid).
 * A grant that began and ran out meanwhile was given, and is lost.
 * What can be spent is tokens_remaining - lost + returned + given - repaid.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.tokens_due(
  p_user_id uuid,
  p_now timestamptz,
  out lost bigint,
  out returned bigint,
  out forfeited bigint,
  out given bigint,
  out repaid bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(sum(b.tokens_remaining), 0) into lost
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= p_now; -- @gone-at-expires-at
  select coalesce(sum(part.tokens) filter (where b.expires_at > p_now or b.expires_at is null), 0),
         coalesce(sum(part.tokens) filter (where not (b.expires_at > p_now or b.expires_at is null)), 0)
    into returned, forfeited
    from public.token_holds h
   cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
   cross join lateral ( -- each by its key, however many the user has had
      select g.* from public.token_balances g where g.user_id = p_user_id and g.id = part.grant_id offset 0) b
   where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
     and (h.parent_id is null or not tokenbook.is_parent_open(h.user_id, h.parent_id, p_now)); -- @due-to-its-parent
  given := coalesce((select sum(d.tokens_remaining) from tokenbook.due_grants(p_user_id, p_now) d), 0); -- @reads-count-slots
  select lost + coalesce(sum((g.granted).tokens_granted), 0), given + coalesce(sum((g.granted).tokens_granted), 0)
    into lost, given
    from tokenbook.grants_to_begin(p_user_id, p_now) g
   where g.is_fitting and (g.granted).expires_at <= p_now;
  repaid := coalesce((
    select least(a.tokens_owed, a.tokens_remaining - lost + returned + given)
      from public.token_accounts a where a.user_id = p_user_id and a.tokens_owed > 0), 0);
end
$$;
comment on function tokenbook.tokens_due is
  'What time has changed and nobody has booked yet: tokens lost with their grants, and tokens of holds that have run out, returned or forfeited, what its plan''s schedule and grants to come give, and what of those repays a debt.';
