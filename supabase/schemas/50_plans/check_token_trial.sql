/*
 * Whether a user may have a trial, by the project's policy: for a page that offers one. It reserves nothing: another
 * account of the same person may take it first (tokenbook.take_trial).
 * A user is answered about themself only; admins and the server about every user.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: nobody may read who had a trial.
create function tokenbook.check_token_trial(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_asked record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true); -- @trials-of-oneself
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  v_asked := tokenbook.ask_trial(p_user_id);
  return jsonb_build_object(
    'user_id', p_user_id,
    'trial', v_asked.share,
    'reason', v_asked.refusal,
    'reduced_percent', v_asked.reduced_percent,
    'reduced_tokens', v_asked.reduced_tokens);
end
$$;
comment on function tokenbook.check_token_trial is
  'Whether a user may have a trial. For the user themself, an admin, or the server. Returns {user_id, trial (full, reduced or none), reason (of none: trial_already_taken, or trial_needs_identity: they have neither an address nor a phone number nor an identity at a provider), reduced_percent, reduced_tokens (of reduced, one of the two)}. Errors: user_not_found, forbidden.';
