/*
 * The refusal `busy` as an answer (tokenbook.answer_refusal), for a call that has booked a portion of what
 * was due and must keep it; with Retry-After. When a function of the project's was requested, and calls ours, its own
 * status is sent: what it wrote is committed, so its client must not get a 503.
 * Caller: internal.   Returns {success, code, message, details, hint}.
 */
create function tokenbook.answer_busy()
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tokenbook.is_own_request() then
    perform set_config('response.headers', '[{"Retry-After": "1"}]', true);
  end if;
  return tokenbook.answer_refusal('busy', '{}');
end
$$;
comment on function tokenbook.answer_busy is
  'The refusal busy as an answer that keeps what the call has booked: {success: false, code, message, details, hint}, with status 503 where the API was asked for one of Tokenbook''s functions.';
