/*
 * Puts lines of an archive's file back into token_usage, and takes what was kept of them away again. What is there already
 * is left as it is, and so is what was archived by nobody: it is in no total. So are uses of users whose books are in another
 * project now. Words that were erased after the use are not brought back. Refused when a line is not what the ledger says.
 * Caller: npx tokenbook archive --restore; the owner of the database.   Locks: the marks, so that nobody counts.
 * Returns {restored, is_behind (count first)}.   Errors: invalid_usage_archive.
 */
create function tokenbook.restore_uses(p_digest text, p_lines text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = force_custom_plan
as $$
declare
  v_given public.token_usage[];
  v_users uuid[];
  v_sums tokenbook.archived_usage[];
  v_updated bigint;
begin
  if not tokenbook.begin_archiving(p_digest) then
    return '{"restored": 0, "is_behind": true}';
  end if;

  select array_agg(r) into v_given
    from unnest(p_lines) as l (line)
   cross join lateral jsonb_populate_record(null::public.token_usage, l.line::jsonb) r
   where not exists (
     select 1 from public.token_usage u where u.user_id = r.user_id and u.id = r.id and u.created_at = r.created_at)
     and not exists ( -- @moved-uses-stay-archived begin
       select 1 from public.token_accounts a where a.user_id = r.user_id and a.state in ('moving', 'moved', 'arriving')); -- @moved-uses-stay-archived end
  if exists (select 1 from unnest(v_given) g where not exists (select 1 from tokenbook.settled_entry(g))) then -- @restores-what-was-booked
    perform tokenbook.refuse('invalid_usage_archive', '{"rule": "each use as its entry in the ledger says it"}');
  end if;
  insert into public.token_usage select g.* from unnest(v_given) g;
  update public.token_usage u
     set metadata = t.metadata, error_message = null
    from unnest(v_given) g
    join public.token_transactions t on t.user_id = g.user_id and t.id = g.transaction_id
   where u.user_id = g.user_id and u.id = g.id and u.created_at = g.created_at
     and exists ( -- @erased-stays-erased begin
       select 1 from tokenbook.changes c
        where c.change = 'forget_token_user' and c.user_id = coalesce(g.member_id, g.user_id) and c.created_at > g.created_at); -- @erased-stays-erased end

  select array_agg(s.sums) into v_sums
    from (
      select tokenbook.sum_of_uses(array_agg(row(g.*)::public.token_usage)) as sums
        from unnest(v_given) g
       group by g.user_id, date_trunc('hour', g.created_at), g.action_type, g.model_used, g.member_id) s;
  update tokenbook.archived_usage a
     set uses = a.uses - s.uses,
         failed_uses = a.failed_uses - s.failed_uses,
         tokens = a.tokens - s.tokens,
         tokens_uncovered = a.tokens_uncovered - s.tokens_uncovered,
         input_tokens = a.input_tokens - s.input_tokens,
         output_tokens = a.output_tokens - s.output_tokens,
         cached_tokens = a.cached_tokens - s.cached_tokens,
         reasoning_tokens = a.reasoning_tokens - s.reasoning_tokens,
         images = a.images - s.images,
         seconds = a.seconds - s.seconds,
         cost_cents = a.cost_cents - s.cost_cents,
         uses_without_cost = a.uses_without_cost - s.uses_without_cost,
         charged_cents = a.charged_cents - s.charged_cents
    from unnest(v_sums) s
   where a.user_id = s.user_id and a.starts_at = s.starts_at and a.action_type = s.action_type
     and a.model_used = s.model_used and a.member_id = s.member_id and a.uses >= s.uses;
  get diagnostics v_updated = row_count;
  if v_updated <> coalesce(cardinality(v_sums), 0) then
    perform tokenbook.refuse('invalid_usage_archive', '{"rule": "uses that were archived here, and were not restored yet"}');
  end if;
  delete from tokenbook.archived_usage a
   using unnest(v_sums) s
   where a.user_id = s.user_id and a.starts_at = s.starts_at and a.action_type = s.action_type
     and a.model_used = s.model_used and a.member_id = s.member_id and a.uses = 0;
  delete from tokenbook.archived_usage_receipts r
   using unnest(v_given) g
   where r.user_id = g.user_id and r.usage_id = g.id;

  select array_agg(distinct g.user_id) || array_agg(distinct g.member_id) into v_users from unnest(v_given) g;
  perform tokenbook.end_archiving(p_digest, v_users, -coalesce(cardinality(v_given), 0));
  return jsonb_build_object('restored', coalesce(cardinality(v_given), 0), 'is_behind', false);
end
$$;
comment on function tokenbook.restore_uses is
  'Puts lines of an archive''s file back into token_usage, and takes what was kept of them away again.';
