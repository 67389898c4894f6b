/*
 * The plan of a subscription's row as it is kept beside another: the columns that are the plan's and not the user's.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.plan_beside(p_subscription tokenbook.subscriptions)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
begin
  return to_jsonb(p_subscription)
    - array['user_id', 'id', 'tokens_limit', 'ended_at', 'beside', 'created_at', 'updated_at'];
end
$$;
comment on function tokenbook.plan_beside is
  'The plan of a subscription''s row as it is kept beside another, as JSON.';
