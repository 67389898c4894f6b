/*
 * The refusal `busy` as an answer instead of an exception, for a call that has booked a portion of what
 * was due and must keep it. Through the API it is the very response of the refusal: status 503,
 * Retry-After, the same body. In SQL it is that body with success false; and to a function of the project's
 * that was asked and called ours, whose own status it is: what it wrote stays, so its caller must not hear 503.
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
  if tokenbook.is_own_request() then -- @status-of-own-requests
    perform set_config('response.status', '503', true),
            set_config('response.headers', '[{"Retry-After": "1"}]', true);
  end if;
  return jsonb_build_object('success', false) || tokenbook.describe_refusal('busy', '{}');
end
$$;
comment on function tokenbook.answer_busy is
  'The refusal busy as an answer that keeps what the call has booked: {success: false, code, message, details, hint}, with status 503 where the API was asked for one of Tokenbook''s functions.';
