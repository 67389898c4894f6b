/*
 * The plan of a subscription's row as it is kept beside another: the columns that are the plan's and not the user's.
 * With p_ended_at it is not in force any more from then on, whatever its time; what was paid for comes all the same.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.plan_beside(p_subscription tokenbook.subscriptions, p_ended_at timestamptz default null)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
begin
  return to_jsonb(p_subscription)
    - array['user_id', 'id', 'tokens_limit', 'ended_at', 'beside', 'created_at', 'updated_at']
    || case when p_ended_at is null then '{}' else jsonb_build_object('ended_at', p_ended_at) end;
end
$$;
comment on function tokenbook.plan_beside is
  'The plan of a subscription''s row as it is kept beside another, as JSON.';
