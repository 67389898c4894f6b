/*
 * What an operation counts for: tokens_used and cost_estimate of the usage row to be.
 *
 * Tokens: the number that was given; else input + output, brought within what token_action_costs asks
 * for that action at least and at most; NULL when neither says anything. Cached tokens are part of
 * the input, reasoning tokens part of the output: neither counts twice.
 * Cost: cents by the model's prices at created_at, rounded up to 0.0001 once. NULL, never 0, when
 * the model, a price that is needed, or what was used is not known.
 * Caller: internal: tracking, quotes and captures alike.
 */
create function tokenbook.measure_usage(p_usage public.token_usage)
returns public.token_usage
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counted bigint := coalesce(p_usage.input_tokens, 0) + coalesce(p_usage.output_tokens, 0);
  v_price public.token_model_prices;
begin
  if p_usage.tokens_used is null then
    select least(greatest(v_counted, c.min_tokens), c.max_tokens) into p_usage.tokens_used
      from public.token_action_costs c where c.action_type = p_usage.action_type;
  end if;
  if p_usage.tokens_used is null and (p_usage.input_tokens is not null or p_usage.output_tokens is not null) then
    p_usage.tokens_used := v_counted;
  end if;

  p_usage.cost_estimate := null;
  if coalesce(p_usage.input_tokens, p_usage.output_tokens, p_usage.images, p_usage.seconds) is not null then
    select p.* into v_price
      from public.token_model_prices p
     where p.model = p_usage.model_used and p.valid_from <= p_usage.created_at
     order by p.valid_from desc
     limit 1;
    -- what was not used costs nothing even where its price is not known
    p_usage.cost_estimate := ceil(10000 * (
        case when p_usage.input_tokens > coalesce(p_usage.cached_tokens, 0)
          then (p_usage.input_tokens - coalesce(p_usage.cached_tokens, 0)) * v_price.input_cents_per_million / 1000000 else 0 end
      + case when p_usage.cached_tokens > 0
          then p_usage.cached_tokens
               * coalesce(v_price.cached_input_cents_per_million, v_price.input_cents_per_million) / 1000000 else 0 end
      + case when p_usage.output_tokens > 0
          then p_usage.output_tokens * v_price.output_cents_per_million / 1000000 else 0 end
      + case when p_usage.images > 0 then p_usage.images * v_price.cents_per_image else 0 end
      + case when p_usage.seconds > 0 then p_usage.seconds * v_price.cents_per_minute / 60 else 0 end)) / 10000;
    if v_price.model is null then
      p_usage.cost_estimate := null;
    end if;
  end if;
  return p_usage;
end
$$;
comment on function tokenbook.measure_usage is
  'Fills tokens_used and cost_estimate (cents, rounded up to 0.0001, NULL = unknown) of a usage row to be, from what was used and the two price lists.';
