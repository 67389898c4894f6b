/*
 * Gives back everything that a hold set aside. Once: a hold that has been captured, released or has
 * run out stays as it is, and the answer says how.
 * Caller: the user for holds they made, an admin, service_role.   Locks: the account.
 * Returns what tokenbook.hold_receipt says; success when the hold is now released, by whatever call.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, hold_not_found, busy.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.release_tokens(p_user_id uuid, p_hold_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  return tokenbook.settle_hold(p_user_id, p_hold_id, 'released', v_actor.actor_role, v_actor.actor_id);
end
$$;
comment on function tokenbook.release_tokens is
  'Gives back everything that a hold set aside; once, and a second time answers what happened the first time. For the user (holds that they made), an admin, or the server. Returns {success (its tokens are back), hold_id, status (captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, settled_at, tokens_remaining, replayed, …} as capture_tokens does. Errors: hold_not_found, user_not_found, forbidden, busy.';
