/*
 * A registered error as a value: what tokenbook.refuse would raise, as the API would answer it.
 * Caller: internal.   Returns {code (the SQLSTATE), message (the slug), details, hint}.
 */
create function tokenbook.describe_refusal(p_slug text, p_facts jsonb default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_code text;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  perform tokenbook.refuse(p_slug, p_facts);
  return null;
exception
  when sqlstate 'PT503' or sqlstate 'PT500' or sqlstate 'PT404' then
    get stacked diagnostics v_code = returned_sqlstate, v_slug = message_text,
      v_facts = pg_exception_detail, v_hint = pg_exception_hint;
    return jsonb_build_object('code', v_code, 'message', v_slug, 'details', v_facts, 'hint', v_hint);
end
$$;
comment on function tokenbook.describe_refusal is
  'A registered error of status 404, 500 or 503 as a value: {code, message, details, hint}.';
