/*
 * What an operation counts for: tokens_used and cost_estimate of the usage row to be. p_tokens_used is the number that
 * was given, if any.
 *
 * Tokens: that number; else what the model's rate at p_at makes of what was used, rounded up once, or, where it has
 * none, input + output; brought within what token_action_costs asks for that action at least and at most; NULL when
 * none of these says anything. Cached tokens are part of the input, reasoning tokens part of the output: neither
 * counts twice.
 * Cost: cents by the model's prices at p_at, rounded up to 0.0001 once. NULL, never 0, when
 * the model, a price that is needed, or what was used is not known. is_unknown: the model has no price, and others have
 * or had one.
 * Caller: internal: tracking, quotes and captures alike.
 */
create function tokenbook.measure_usage(
  p_action_type text,
  p_model_used text,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_tokens_used bigint,
  p_cached_tokens bigint,
  p_reasoning_tokens bigint,
  p_images integer,
  p_seconds numeric,
  p_at timestamptz,
  out tokens_used bigint,
  out cost_estimate numeric,
  out is_unknown boolean
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_input_price numeric;
  v_cached_price numeric;
  v_output_price numeric;
  v_image_price numeric;
  v_minute_price numeric;
  v_cached constant bigint := coalesce(p_cached_tokens, 0);
begin
  tokens_used := p_tokens_used;
  if tokens_used is null then
    declare
      v_has_rates boolean;
      v_min_tokens bigint;
      v_max_tokens bigint;
    begin
      select c.min_tokens, c.max_tokens, exists (select 1 from public.token_model_rates)
        into v_min_tokens, v_max_tokens, v_has_rates
        from (select) as one
        left join public.token_action_costs c on c.action_type = p_action_type;
      if v_has_rates and p_model_used is not null then
        tokens_used := tokenbook.tokens_at_rate(
          p_model_used, p_at, p_input_tokens, p_output_tokens, p_cached_tokens, p_reasoning_tokens, p_images, p_seconds);
      end if;
      if tokens_used is null and coalesce(p_input_tokens, p_output_tokens, v_min_tokens) is not null then
        tokens_used := coalesce(p_input_tokens, 0) + coalesce(p_output_tokens, 0);
      end if;
      tokens_used := least(greatest(tokens_used, v_min_tokens), v_max_tokens); -- @actions-bound-rates
    end;
  end if;

  if p_input_tokens is null and p_output_tokens is null and p_images is null and p_seconds is null then
    -- nothing was counted that has a price, and yet the model may be one that nobody knows
    is_unknown := p_model_used is not null and tokenbook.has_no_price(p_model_used, p_at);
    return;
  end if;
  select p.input_cents_per_million, coalesce(p.cached_input_cents_per_million, p.input_cents_per_million),
         p.output_cents_per_million, p.cents_per_image, p.cents_per_minute
    into v_input_price, v_cached_price, v_output_price, v_image_price, v_minute_price
    from public.token_model_prices p
   where p.model = p_model_used and p.valid_from <= p_at
   order by p.valid_from desc
   limit 1;
  if not found then
    -- an empty file: no model has a price. Looking for a row takes twice as many instructions;
    -- tokenbook.meet_unknown_model, which acts on this, does look
    is_unknown := p_model_used is not null and pg_relation_size('public.token_model_prices') > 0;
    return;
  end if;
  -- what was not used costs nothing even where its price is not known; each of these only where it is needed
  cost_estimate := 0;
  if p_input_tokens > v_cached then
    cost_estimate := (p_input_tokens - v_cached) * v_input_price;
  end if;
  if v_cached > 0 then
    cost_estimate := cost_estimate + v_cached * v_cached_price;
  end if;
  if p_output_tokens > 0 then
    cost_estimate := cost_estimate + p_output_tokens * v_output_price;
  end if;
  cost_estimate := cost_estimate / 1000000;
  if p_images > 0 then
    cost_estimate := cost_estimate + p_images * v_image_price;
  end if;
  if p_seconds > 0 then
    cost_estimate := cost_estimate + p_seconds * v_minute_price / 60;
  end if;
  cost_estimate := ceil(10000 * cost_estimate) / 10000;
end
$$;
comment on function tokenbook.measure_usage is
  'What an operation counts for, tokens_used and cost_estimate (cents, rounded up to 0.0001, NULL = unknown), from what was used, the rates of models, the costs of actions and the prices of models; is_unknown where the model has no price and others do.';
