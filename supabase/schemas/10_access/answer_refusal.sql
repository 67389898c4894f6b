/*
 * A refusal as an answer instead of an exception, for a call that has written what must stay. Through the API it is the
 * very response of the refusal: its status, the same body. In SQL it is that body with success false; so it is for a
 * function of the project's that was requested and calls ours, which sets its own status: what it wrote is committed.
 * Caller: internal.   Returns {success, code, message, details, hint}.
 */
create function tokenbook.answer_refusal(p_slug text, p_facts jsonb)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_refusal constant jsonb := tokenbook.describe_refusal(p_slug, p_facts);
begin
  if tokenbook.is_own_request() then -- @status-of-own-requests
    perform set_config('response.status', right(v_refusal ->> 'code', 3), true);
  end if;
  return jsonb_build_object('success', false) || v_refusal;
end
$$;
comment on function tokenbook.answer_refusal is
  'A registered error as an answer that keeps what the call has written: {success: false, code, message, details, hint}, with its status where the API was asked for one of Tokenbook''s functions.';
