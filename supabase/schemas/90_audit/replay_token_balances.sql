/*
 * What each grant would have now if all deductions had been spread over the grants exactly (oldest
 * first, each by its own expiry at that moment), beside what it has: what the simple hotfix of 2025
 * left behind, and whether the right grants have paid since. For one user, for everyone, or for the
 * users after p_after up to p_until, so that a large database is gone through in pieces.
 * One snapshot; changes nothing. How it is done: tokenbook.replay.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.replay_token_balances(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return query select * from tokenbook.replay(p_user_id, p_after, p_until, clock_timestamp());
end
$$;
comment on function tokenbook.replay_token_balances is
  'Replays past grants and past use exactly: a row for each grant with exact (what it would have now), stored (what it has) and difference (stored - exact: over-granted tokens). What has run out counts on neither side. A user whose deductions found no grant to pay them has one row more, without a grant, that says how many tokens (uncovered). For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. Changes nothing. Returns user_id, grant_id, grant_type, granted_at, expires_at, tokens_granted, exact, stored, difference, uncovered. Errors: not_authenticated, forbidden.';
