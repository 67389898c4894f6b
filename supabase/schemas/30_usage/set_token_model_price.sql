/*
 * Gives a model a price that holds from a moment on: now, where none is said. What it cost before stays as it is, and
 * so does what was booked at that. Fields that are left out stay as they are at that moment; null: not known. A price
 * that is still to come is replaced by one for the same moment. The same again changes nothing.
 * p_source synced is for a catalogue's prices: where a person has set the price in force, nothing changes.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_model_price, invalid_reason.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_model_price(
  p_model text,
  p_price jsonb,
  p_reason text,
  p_valid_from timestamptz default null,
  p_source text default 'manual'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_prices constant text[] := array[
    'input_cents_per_million', 'cached_input_cents_per_million', 'output_cents_per_million', 'cents_per_image', 'cents_per_minute'];
  v_actor record;
  v_now timestamptz;
  v_at timestamptz;
  v_field text;
  v_rule text;
  v_before public.token_model_prices;
  v_price public.token_model_prices;
  v_is_manual boolean;
  v_changed text[];
begin
  -- validate
  v_actor := tokenbook.check_offer('invalid_model_price', 'p_price', p_price, p_reason);
  v_now := clock_timestamp();
  v_at := coalesce(p_valid_from, v_now);
  if coalesce(octet_length(p_model), 0) not between 1 and 200 or p_model !~ '[^[:space:]]' then
    v_field := 'p_model';
    v_rule := '1 to 200 bytes, not all blank';
  elsif p_source is null or p_source not in ('manual', 'synced') then
    v_field := 'p_source';
    v_rule := 'manual or synced';
  elsif v_at < v_now or not isfinite(v_at) then -- @former-prices-stay
    v_field := 'p_valid_from';
    v_rule := 'a moment to come, or left out for now: former prices stay';
  else
    select f.key,
           case when f.key <> all (c_prices) then 'a field that can be set'
                else '0 to 1000000000000 cents of at most 30 decimals, or null where it is not known' end
      into v_field, v_rule
      from jsonb_each(p_price) f
     where f.key <> all (c_prices)
        or case jsonb_typeof(f.value) when 'null' then false
                                      when 'number' then f.value::numeric not between 0 and 1000000000000 or scale(f.value::numeric) > 30
                                      else true end
     order by f.key
     limit 1;
  end if;
  if v_field is null then
    select p.* into v_before
      from public.token_model_prices p
     where p.model = p_model and p.valid_from <= v_at
     order by p.valid_from desc
     limit 1;
    v_price := jsonb_populate_record(v_before, p_price);
    if num_nonnulls(v_before.model, v_price.input_cents_per_million, v_price.cached_input_cents_per_million,
                    v_price.output_cents_per_million, v_price.cents_per_image, v_price.cents_per_minute) = 0 then
      v_field := 'p_price';
      v_rule := 'one price or more, for a model that has none';
    end if;
  end if;
  if v_field is not null then
    perform tokenbook.refuse('invalid_model_price', jsonb_build_object('field', left(v_field, 64), 'rule', v_rule));
  end if;

  -- act
  v_is_manual := v_before.source = 'manual' and p_source = 'synced'; -- @manual-prices-win
  if v_is_manual then
    v_price := v_before;
  else
    v_price.source := p_source;
  end if;
  v_changed := tokenbook.changed_fields(
    to_jsonb(v_before), to_jsonb(v_price),
    c_prices || case when v_before.model is not null then array['source'] end); -- of a new price it is no change
  if v_changed <> '{}' then
    v_price.model := p_model;
    v_price.valid_from := v_at;
    insert into public.token_model_prices as p
    select v_price.*
    on conflict (model, valid_from) do update
       set input_cents_per_million = excluded.input_cents_per_million,
           cached_input_cents_per_million = excluded.cached_input_cents_per_million,
           output_cents_per_million = excluded.output_cents_per_million,
           cents_per_image = excluded.cents_per_image,
           cents_per_minute = excluded.cents_per_minute,
           source = excluded.source;
    perform tokenbook.record_change(
      'set_token_model_price', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'model', p_model, 'valid_from', v_at, 'is_new', v_before.model is null, 'changed', v_changed,
        'before', (select jsonb_object_agg(c, to_jsonb(v_before) -> c) from unnest(v_changed) c where v_before.model is not null),
        'after', (select jsonb_object_agg(c, to_jsonb(v_price) -> c) from unnest(v_changed) c)));
  end if;
  return jsonb_build_object(
    'success', true,
    'model', p_model,
    'is_new', v_before.model is null,
    'changed', v_changed,
    'is_manual', coalesce(v_is_manual, false),
    'price', v_price);
end
$$;
comment on function tokenbook.set_token_model_price is
  'Gives a model a price that holds from p_valid_from on (left out: now; a moment to come: planned); former prices stay, and so does what was booked. For an admin or the server. p_price {input_cents_per_million, cached_input_cents_per_million, output_cents_per_million, cents_per_image, cents_per_minute}: what is left out stays as it is, null is not known; a model without a price needs one. p_reason 1 to 500 characters. p_source synced is for a catalogue: it leaves a price that was set by hand (manual, the default) as it is. The same again changes nothing. list_token_changes has the history. Returns {success, model, is_new, changed: [field, …], is_manual (a synced price was left out for it), price (the row that holds from then on)}. Errors: invalid_model_price, invalid_reason, forbidden.';
