/*
 * Says what using a model costs users, in tokens, from a moment on: now, where none is said. What it cost before stays as
 * it is, and so does what was booked at that. Fields that are left out stay as they are at that moment. p_rate NULL:
 * the pattern has no rate from then on. One that is still to come is replaced by one for the same moment. The same again
 * changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_model_rate, invalid_reason.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_model_rate(
  p_model_pattern text,
  p_rate jsonb,
  p_reason text,
  p_valid_from timestamptz default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_most constant jsonb := '{
    "tokens_per_input": 1000000, "tokens_per_cached": 1000000, "tokens_per_output": 1000000, "tokens_per_reasoning": 1000000,
    "tokens_per_image": 1000000000, "tokens_per_second": 1000000000, "markup_percent": 1000000}';
  c_as_the_whole constant text[] := array['tokens_per_cached', 'tokens_per_reasoning'];
  v_actor record;
  v_now timestamptz;
  v_at timestamptz;
  v_field text;
  v_rule text;
  v_before public.token_model_rates;
  v_rate public.token_model_rates;
  v_changed text[];
begin
  -- validate
  v_actor := tokenbook.check_offer('invalid_model_rate', 'p_rate', coalesce(p_rate, '{}'), p_reason);
  v_now := clock_timestamp();
  v_at := coalesce(p_valid_from, v_now);
  if coalesce(octet_length(p_model_pattern), 0) not between 1 and 200 or p_model_pattern !~ '[^[:space:]]'
    or strpos(rtrim(p_model_pattern, '*'), '*') > 0 or p_model_pattern like '%**'
  then
    v_field := 'p_model_pattern';
    v_rule := '1 to 200 bytes, not all blank, with * at its end only';
  elsif v_at < v_now or not isfinite(v_at) then
    v_field := 'p_valid_from';
    v_rule := 'a moment to come, or left out for now: former rates stay';
  else
    select f.key,
           case when not c_most ? f.key then 'a field that can be set'
                else format('0 to %s, of at most 30 decimals%s', c_most ->> f.key,
                       case when f.key = any (c_as_the_whole) then ', or null for as the rest' else '' end) end
      into v_field, v_rule
      from jsonb_each(p_rate) f
     where not c_most ? f.key
        or case jsonb_typeof(f.value) when 'null' then f.key <> all (c_as_the_whole)
                                      when 'number' then f.value::numeric not between 0 and (c_most -> f.key)::numeric or scale(f.value::numeric) > 30
                                      else true end
     order by f.key
     limit 1;
  end if;
  if v_field is not null then
    perform tokenbook.refuse('invalid_model_rate', jsonb_build_object('field', left(v_field, 64), 'rule', v_rule));
  end if;

  -- act
  select r.* into v_before
    from public.token_model_rates r
   where r.model_pattern = p_model_pattern and r.valid_from <= v_at
   order by r.valid_from desc
   limit 1;
  if p_rate is not null then
    v_rate := jsonb_populate_record(v_before, p_rate);
    v_rate.tokens_per_input := coalesce(v_rate.tokens_per_input, 1);
    v_rate.tokens_per_output := coalesce(v_rate.tokens_per_output, 1);
    v_rate.tokens_per_image := coalesce(v_rate.tokens_per_image, 0);
    v_rate.tokens_per_second := coalesce(v_rate.tokens_per_second, 0);
    v_rate.markup_percent := coalesce(v_rate.markup_percent, 0);
  end if;
  v_changed := tokenbook.changed_fields(to_jsonb(v_before), to_jsonb(v_rate), array(select jsonb_object_keys(c_most)));
  if v_changed <> '{}' then
    v_rate.model_pattern := p_model_pattern;
    v_rate.valid_from := v_at;
    insert into public.token_model_rates as r
    select v_rate.*
    on conflict (model_pattern, valid_from) do update
       set tokens_per_input = excluded.tokens_per_input,
           tokens_per_cached = excluded.tokens_per_cached,
           tokens_per_output = excluded.tokens_per_output,
           tokens_per_reasoning = excluded.tokens_per_reasoning,
           tokens_per_image = excluded.tokens_per_image,
           tokens_per_second = excluded.tokens_per_second,
           markup_percent = excluded.markup_percent;
    perform tokenbook.record_change(
      'set_token_model_rate', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'model_pattern', p_model_pattern, 'valid_from', v_at, 'is_new', v_before.tokens_per_input is null, 'changed', v_changed,
        'before', (select jsonb_object_agg(c, to_jsonb(v_before) -> c) from unnest(v_changed) c where v_before.tokens_per_input is not null),
        'after', (select jsonb_object_agg(c, to_jsonb(v_rate) -> c) from unnest(v_changed) c where v_rate.tokens_per_input is not null)));
  end if;
  return jsonb_build_object(
    'success', true,
    'model_pattern', p_model_pattern,
    'is_new', v_before.tokens_per_input is null and v_rate.tokens_per_input is not null,
    'changed', v_changed,
    'rate', case when v_rate.tokens_per_input is not null then to_jsonb(v_rate) end);
end
$$;
comment on function tokenbook.set_token_model_rate is
  'Says what using a model costs users in tokens, from p_valid_from on (left out: now; a moment to come: planned); former rates stay, and so does what was booked. For an admin or the server. p_model_pattern a model, or the beginning of its name and *; p_rate {tokens_per_input, tokens_per_cached, tokens_per_output, tokens_per_reasoning, tokens_per_image, tokens_per_second, markup_percent}: what is left out stays as it is, and in a new rate is 1 for input and output, as the rest for cached and reasoning, and 0 else; NULL: no rate any more. p_reason 1 to 500 characters. The same again changes nothing. list_token_changes has the history. Returns {success, model_pattern, is_new, changed: [field, …], rate (the row that holds from then on; NULL = none)}. Errors: invalid_model_rate, invalid_reason, forbidden.';
