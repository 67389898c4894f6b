/*
 * Uses of one hour, action, model and member as a row of archived_usage.
 * Caller: tokenbook.archive_uses, restore_uses.
 */
create function tokenbook.sum_of_uses(p_uses public.token_usage[])
returns tokenbook.archived_usage
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_sum tokenbook.archived_usage;
begin
  select u.user_id, date_trunc('hour', u.created_at), u.action_type, coalesce(u.model_used, ''),
         coalesce(u.member_id, '00000000-0000-0000-0000-000000000000'),
         count(*), count(*) filter (where not u.success),
         coalesce(sum(u.tokens_used - u.tokens_uncovered) filter (where u.success), 0),
         coalesce(sum(u.tokens_uncovered) filter (where u.success), 0),
         coalesce(sum(u.input_tokens), 0), coalesce(sum(u.output_tokens), 0), coalesce(sum(u.cached_tokens), 0),
         coalesce(sum(u.reasoning_tokens), 0), coalesce(sum(u.images), 0), coalesce(sum(u.seconds), 0),
         coalesce(sum(u.cost_estimate), 0), count(*) filter (where u.cost_estimate is null),
         coalesce(sum(u.cost_estimate) filter (where u.success), 0)
    into v_sum
    from unnest(p_uses) u
   group by 1, 2, 3, 4, 5;
  return v_sum;
end
$$;
comment on function tokenbook.sum_of_uses is
  'Uses of one hour, action, model and member as a row of archived_usage.';
