/*
 * What an entry keeps of the subscription that it began or changed: all of it but the plan limit, which moves with
 * tokens.
 * Caller: internal.
 */
create function tokenbook.subscription_terms(p_subscription tokenbook.subscriptions)
returns jsonb
language plpgsql
stable -- a moment's text must not depend on the session's time zone
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_strip_nulls(to_jsonb(p_subscription) - array['user_id', 'tokens_limit', 'updated_at']);
end
$$;
comment on function tokenbook.subscription_terms is
  'What an entry keeps of the subscription that it began or changed, as JSON.';
