/*
 * What the rate of a model makes of a use, rounded up once: of the patterns that fit the model and have a rate at that
 * moment, its own name, else the longest. NULL where none does, or nothing says what was used.
 * Caller: internal.
 */
create function tokenbook.tokens_at_rate(
  p_model text,
  p_at timestamptz,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_cached_tokens bigint,
  p_reasoning_tokens bigint,
  p_images integer,
  p_seconds numeric
)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant numeric := tokenbook.limits() -> 'tokens';
  v_cached constant bigint := coalesce(p_cached_tokens, 0);
  v_reasoning constant bigint := coalesce(p_reasoning_tokens, 0);
  v_rate public.token_model_rates;
begin
  if coalesce(p_input_tokens, p_output_tokens, p_images, p_seconds) is null then
    return null;
  end if;
  select r.* into v_rate
    from public.token_model_rates r
   where r.model_pattern = any (
           array(select left(p_model, n) || '*' from generate_series(0, length(p_model)) n) || p_model)
     and r.valid_from = (
       select max(l.valid_from) from public.token_model_rates l
        where l.model_pattern = r.model_pattern and l.valid_from <= p_at) -- @rates-of-their-moment
     and r.tokens_per_input is not null
   order by r.model_pattern = p_model desc, length(r.model_pattern) desc
   limit 1;
  if not found then
    return null;
  end if;
  return least(
    v_limit,
    ceil((
      (coalesce(p_input_tokens, 0) - v_cached) * v_rate.tokens_per_input
      + v_cached * coalesce(v_rate.tokens_per_cached, v_rate.tokens_per_input)
      + (coalesce(p_output_tokens, 0) - v_reasoning) * v_rate.tokens_per_output
      + v_reasoning * coalesce(v_rate.tokens_per_reasoning, v_rate.tokens_per_output)
      + coalesce(p_images, 0) * v_rate.tokens_per_image
      + coalesce(p_seconds, 0) * v_rate.tokens_per_second) * (100 + v_rate.markup_percent) / 100)); -- @rates-round-up-once
end
$$;
comment on function tokenbook.tokens_at_rate is
  'What the rate of a model at a moment makes of a use, rounded up once; NULL where it has none.';
