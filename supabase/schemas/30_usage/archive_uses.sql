/*
 * Takes uses out of token_usage that are lines of an archive's file, and keeps what reports, the verifier and repeated
 * calls need of them: all of it in one transaction. A use goes only when the line is what stands in the table now, letter
 * by letter. One that is not there, or was changed since, is left as it is; so the same lines can be given again.
 * Reports count nothing meanwhile. What they have counted of everyone's uses must go as far as the archive does, and what
 * they have counted of a user's and does not is counted again: of an hour that is archived nobody can count a part.
 * p_digest: of the file, one of tokenbook.usage_archives.
 * Caller: npx tokenbook archive; the owner of the database.   Locks: the marks, so that nobody counts.
 * Returns {archived, is_behind (count first)}.   Errors: invalid_usage_archive.
 */
create function tokenbook.archive_uses(p_digest text, p_lines text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- in which lines are written, and where hours begin
set plan_cache_mode = force_custom_plan
as $$
declare
  v_users uuid[];
  v_archived bigint;
begin
  if not tokenbook.begin_archiving(p_digest) then
    return '{"archived": 0, "is_behind": true}';
  end if;

  with given as (
    select l.line, r.user_id, r.id, r.created_at
      from unnest(p_lines) as l (line)
     cross join lateral jsonb_populate_record(null::public.token_usage, l.line::jsonb) r
  ), gone as (
    delete from public.token_usage u
     using given g
     where u.user_id = g.user_id and u.id = g.id and u.created_at = g.created_at
       and row_to_json(u)::text = g.line -- @only-what-is-written
       and exists (select 1 from tokenbook.settled_entry(u))
    returning u.*
  ), kept as (
    insert into tokenbook.archived_usage as a
    select (tokenbook.sum_of_uses(array_agg(row(g.*)::public.token_usage))).*
      from gone g
     group by g.user_id, date_trunc('hour', g.created_at), g.action_type, g.model_used, g.member_id
        on conflict on constraint archived_usage_pkey do update
       set uses = a.uses + excluded.uses,
           failed_uses = a.failed_uses + excluded.failed_uses,
           tokens = a.tokens + excluded.tokens,
           tokens_uncovered = a.tokens_uncovered + excluded.tokens_uncovered,
           input_tokens = a.input_tokens + excluded.input_tokens,
           output_tokens = a.output_tokens + excluded.output_tokens,
           cached_tokens = a.cached_tokens + excluded.cached_tokens,
           reasoning_tokens = a.reasoning_tokens + excluded.reasoning_tokens,
           images = a.images + excluded.images,
           seconds = a.seconds + excluded.seconds,
           cost_cents = a.cost_cents + excluded.cost_cents,
           uses_without_cost = a.uses_without_cost + excluded.uses_without_cost,
           charged_cents = a.charged_cents + excluded.charged_cents
  ), receipts as (
    insert into tokenbook.archived_usage_receipts
    select g.user_id, g.id, g.tokens_used, g.tokens_uncovered, g.cost_estimate
      from gone g
      join public.token_transactions t on t.user_id = g.user_id and t.id = g.transaction_id
     where t.idempotency_key is not null or t.hold_id is not null -- @receipts-stay
  )
  select count(*), array_agg(distinct g.user_id) || array_agg(distinct g.member_id)
    into v_archived, v_users
    from gone g;
  perform tokenbook.end_archiving(p_digest, v_users, v_archived);
  return jsonb_build_object('archived', v_archived, 'is_behind', false);
end
$$;
comment on function tokenbook.archive_uses is
  'Takes uses out of token_usage that are lines of an archive''s file, and keeps what reports, the verifier and repeated calls need of them.';
