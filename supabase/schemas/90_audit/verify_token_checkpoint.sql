/*
 * Whether the ledger still has what a checkpoint says: a row for each difference, with its user and the entries
 * among which it is. Everything is computed from the ledger's rows; what tokenbook.ledger_checkpoints has
 * only helps to say where. Entries that were added since are fine, unless they are dated back.
 * p_lines: a JSON array of the lines of a checkpoint as they were given, its first line first. A large one is gone through
 * in pieces: the first line, and those of the users after p_after up to p_until.
 * One snapshot; changes nothing.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_checkpoint.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.verify_token_checkpoint(
  p_lines jsonb,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_user constant text := '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
  v_lines text[];
  v_head text[];
  v_made_at timestamptz;
  v_line text;
  v_parts text[];
  v_then tokenbook.ledger_checkpoints;
  v_now tokenbook.ledger_checkpoints;
  v_changed text;
  v_place record;
  v_users uuid[] := '{}';
begin
  perform tokenbook.authorize_operator();
  if jsonb_typeof(p_lines) = 'array' then
    v_lines := array(select l.line from jsonb_array_elements_text(p_lines) with ordinality l (line, nth) order by l.nth);
  end if;
  v_head := regexp_match(v_lines[1], '^tokenbook checkpoint 1 of (everyone|' || c_user || ') at ([0-9TZ:.-]{27})$');
  begin
    v_made_at := v_head[2]::timestamptz;
  exception
    when invalid_datetime_format or datetime_field_overflow then
      v_made_at := null;
  end;
  if v_made_at is null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_lines", "rule": "the first line of a checkpoint, first"}');
  end if;
  if cardinality(v_lines) > 100001 then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_lines", "rule": "100000 users at most"}');
  end if;
  -- what was booked before the checkpoint may have been committed after it
  v_made_at := v_made_at - interval '1 hour';

  foreach v_line in array v_lines[2:] loop
    v_parts := string_to_array(v_line, ' ');
    begin
      v_then := row(v_parts[1]::uuid, v_parts[2]::bigint, decode(v_parts[3], 'hex'), decode(v_parts[4], 'hex'));
    exception
      when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value then
        v_then := null;
    end;
    -- said back it is the same, or it was no line of a checkpoint
    if (tokenbook.checkpoint_line(v_then) = v_line) is not true then
      perform tokenbook.refuse('invalid_checkpoint', jsonb_build_object(
        'field', 'p_lines', 'rule', 'lines of a checkpoint as they were given', 'line', left(v_line, 200)));
    end if;
    v_users := v_users || v_then.user_id;

    select c.* into v_now
      from tokenbook.chain_ledger(v_then.user_id, p_until => v_then.id) c -- @from-the-rows
     order by c.id desc
     limit 1;
    if v_now.id is distinct from v_then.id then
      return query select 'I6 entries are still there', v_then.user_id, null::uuid, coalesce(v_now.id, 0) + 1,
        'entries up to ' || v_then.id, coalesce('entries up to ' || v_now.id, 'none');
    else
      foreach v_changed in array array_remove(array[
        case when v_now.numbers <> v_then.numbers then 'numbers' end,
        case when v_now.words <> v_then.words then 'words' end], null)
      loop
        with now as materialized (
          select c.* from tokenbook.chain_ledger(v_then.user_id, p_until => v_then.id) c
        ), kept as (
          select c.id, case when v_changed = 'numbers' then n.numbers = c.numbers else n.words = c.words end as is_same
            from tokenbook.ledger_checkpoints c
            left join now n on n.id = c.id
           where c.user_id = v_then.user_id and c.id < v_then.id and c.id % 100 = 0
        ), first as (
          select coalesce(min(k.id), v_then.id) as id from kept k where k.is_same is distinct from true
        )
        select f.id as until, coalesce((select max(k.id) from kept k where k.id < f.id), 0) + 1 as since
          into v_place from first f;
        return query select 'I6 entries are as they were: ' || v_changed, v_then.user_id, null::uuid, v_place.until,
          format('entries %s to %s as at the checkpoint', v_place.since, v_place.until), 'changed, removed or inserted';
      end loop;
    end if;

    -- the first of those that were added and are older than the checkpoint
    return query
      select 'I6 no entry is dated back', t.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
        from (select n.* from public.token_transactions n
               where n.user_id = v_then.user_id and n.id > v_then.id and n.created_at < v_made_at
               order by n.id limit 1) t;
  end loop;

  -- users of whom the checkpoint knows nothing, and who have entries from before it
  if v_head[1] = 'everyone' then
    return query
      with recursive users as (
        select tokenbook.next_ledger_user(p_after) as user_id
        union all
        select n.user_id
          from users u
         cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
         where u.user_id < coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and n.user_id is not null
      ), unknown as (
        select u.user_id from users u
         where u.user_id <= coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        except select unnest(v_users)
      )
      select 'I6 no entry is dated back', u.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
        from unknown u
       cross join lateral (
         select n.id, n.created_at from public.token_transactions n where n.user_id = u.user_id order by n.id limit 1) t
       where t.created_at < v_made_at; -- @users-in-no-line
  end if;
end
$$;
comment on function tokenbook.verify_token_checkpoint is
  'Whether the ledger still has what a checkpoint says. For an admin or the server. p_lines: a JSON array of the lines of checkpoint_token_ledger as they were given, at most 100,001; for a large one in pieces its first line and those of the users after p_after up to p_until. Recomputes everything from the ledger''s rows and changes nothing; entries that were added since are fine. A row for each difference, none when there is none, in the columns of verify_token_ledger: invariant, user_id, grant_id (NULL), transaction_id (the last of the entries among which it is), expected, found. Errors: not_authenticated, forbidden, invalid_checkpoint.';
