/*
 * A user's storage quota: the sum of what they were given, what came with a plan while that plan is in force.
 * Caller: the user for themselves (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {total_quota_gb}.   Errors: not_authenticated, forbidden, invalid_user_id.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_user_storage_quota(p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_here(p_user_id);
  return jsonb_build_object('total_quota_gb', (
    select coalesce(sum(q.quota_gb), 0) from public.token_storage_quotas q
     where q.user_id = p_user_id and tokenbook.is_storage_in_force(q.user_id, q.subscription_id, q.metadata)));
end
$$;
comment on function tokenbook.get_user_storage_quota is
  'The user''s storage quota in gigabytes, the sum of what they were given; what came with a plan counts while that plan is in force. For the user themself (leave p_user_id out), an admin, or the server. Returns {total_quota_gb}. Errors: not_authenticated, forbidden.';
