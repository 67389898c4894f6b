/*
 * Refuses a usage row to be that no operation can have had, naming the field.
 * Caller: internal.   Errors: invalid_usage.
 */
create function tokenbook.check_usage(p_usage public.token_usage)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_field text;
begin
  select f.field into v_field
    from (values
      ('p_input_tokens', p_usage.input_tokens),
      ('p_output_tokens', p_usage.output_tokens),
      ('p_tokens_used', p_usage.tokens_used),
      ('p_cached_tokens', p_usage.cached_tokens),
      ('p_reasoning_tokens', p_usage.reasoning_tokens)) as f (field, tokens)
   where f.tokens not between 0 and 1000000000000
   limit 1;
  if v_field is not null then
    perform tokenbook.refuse('invalid_usage',
      jsonb_build_object('field', v_field, 'rule', 'a whole number from 0 to 1000000000000'));
  elsif p_usage.cached_tokens > coalesce(p_usage.input_tokens, 0) then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_cached_tokens", "rule": "part of p_input_tokens, so no more than that"}');
  elsif p_usage.reasoning_tokens > coalesce(p_usage.output_tokens, 0) then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_reasoning_tokens", "rule": "part of p_output_tokens, so no more than that"}');
  elsif p_usage.images not between 0 and 1000000 then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_images", "rule": "a whole number from 0 to 1000000"}');
  elsif p_usage.seconds not between 0 and 1000000 or scale(p_usage.seconds) > 30 then -- NaN is greater than any number
    perform tokenbook.refuse('invalid_usage', '{"field": "p_seconds", "rule": "a number from 0 to 1000000, of at most 30 decimals"}');
  elsif length(p_usage.error_message) > 2000 then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_error_message", "rule": "at most 2000 characters"}');
  end if;
  perform tokenbook.check_model(p_usage.model_used);
end
$$;
comment on function tokenbook.check_usage is
  'Refuses amounts of use that cannot be, with invalid_usage, naming the field.';

/*
 * Whether a text can be the name of a model; NULL can.
 * Caller: internal.   Returns true.   Errors: invalid_usage.
 */
create function tokenbook.check_model(p_model_used text)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if octet_length(p_model_used) > 200 or p_model_used !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_model_used", "rule": "1 to 200 bytes, not all blank"}');
  end if;
  return true;
end
$$;
comment on function tokenbook.check_model is
  'Refuses the name of a model that is too long or blank, with invalid_usage.';
