/*
 * Whether there is nothing wrong with the body of this request, seen at a glance: plain SQL, or a JSON object. What is
 * not is tokenbook.check_body's to judge.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22): nearly every call
 * needs no more than this.
 * Caller: internal.
 */
create function tokenbook.is_plain_body()
returns boolean
language sql
volatile -- as current_query is, or Postgres would not inline it
security invoker
as $$
  select coalesce(current_setting('request.headers', true), '') = '' -- PostgREST's; none: plain SQL
    or current_query() not like '%json_to_recordset(%' -- @one-object-only
      and current_setting('request.headers', true) like '%"content-type":"application/json%' -- @json-bodies-only
$$;
comment on function tokenbook.is_plain_body is
  'Whether this is plain SQL or a request with a JSON object, seen at a glance; what is not is judged by check_body.';

/*
 * Refuses a request to one of our functions whose body is not one JSON object. PostgREST takes more than that:
 * of an array of objects, and of CSV, the first row, and drops the others without a word; forms; and of text and
 * bytes nothing at all, so that the function would run with its defaults and book what nobody has asked for.
 *
 * The body itself is not to be seen here, but what it was declared as, and the statement that PostgREST has
 * made of it (versions 12 to 14): json_to_record for an object, json_to_recordset for anything else.
 * A body `null` or `[]` leaves no trace: it counts as {}.   docs/guides/calling.md
 * Looks at requests to our own functions only: a project's function that takes a form may call ours.
 * Caller: internal.   Errors: unsupported_media_type, invalid_request.
 */
create function tokenbook.check_body()
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_headers constant text := current_setting('request.headers', true); -- PostgREST's
begin
  if tokenbook.is_plain_body() then
    return;
  end if;

  if current_setting('request.method', true) is distinct from 'POST' or not tokenbook.is_own_request() then
    return;
  end if;
  if split_part(lower(v_headers::jsonb ->> 'content-type'), ';', 1) <> 'application/json' then
    perform tokenbook.refuse('unsupported_media_type');
  elsif current_query() like '%json_to_recordset(%' then
    perform tokenbook.refuse('invalid_request', '{"field": "body", "rule": "one JSON object"}');
  end if;
end
$$;
comment on function tokenbook.check_body is
  'Refuses an API request to one of our functions whose body is not one JSON object, as far as that can be seen. Plain SQL passes.';
