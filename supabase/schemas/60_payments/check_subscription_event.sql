/*
 * Refuses what is no fact of a subscription, with what it must be: every text has its bound. Returns when it
 * happened.
 * Caller: internal.   Errors: invalid_provider_event.
 */
create function tokenbook.check_subscription_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_subscription_id text,
  p_facts jsonb
)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id constant text := '^[A-Za-z0-9._:-]{1,255}$';
  v_kind constant text := case jsonb_typeof(p_facts) when 'object' then p_facts ->> 'kind' end;
  v_field text;
begin
  v_field := case
    when p_provider is null or p_provider not in ('stripe', 'paypal') then 'p_provider'
    when coalesce(p_event_id, '') !~ v_id then 'p_event_id'
    when coalesce(length(p_event_type), 0) not between 1 and 255 then 'p_event_type'
    when coalesce(p_provider_subscription_id, '') !~ v_id then 'p_provider_subscription_id'
    when coalesce(v_kind, '') <> 'subscription' or octet_length(p_facts::text) > 8192 then 'p_facts'
    when tokenbook.moment_of(p_facts ->> 'occurred_at') is null then 'occurred_at'
    when coalesce(p_facts ->> 'status', '') not in ('active', 'past_due', 'paused', 'cancelled') then 'status'
    when p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'user_id'
    when p_facts ->> 'customer_id' !~ v_id then 'customer_id'
    when p_facts ->> 'plan_type' !~ v_id then 'plan_type'
    when p_facts ->> 'price_id' !~ v_id then 'price_id'
    when p_facts ? 'cancel_at' and tokenbook.moment_of(p_facts ->> 'cancel_at') is null then 'cancel_at'
    when p_facts ? 'current_period_end' and tokenbook.moment_of(p_facts ->> 'current_period_end') is null then 'current_period_end'
  end;
  if v_field is null then
    return tokenbook.moment_of(p_facts ->> 'occurred_at');
  end if;
  perform tokenbook.refuse('invalid_provider_event', jsonb_build_object('field', v_field, 'rule',
    'a known provider, kind and status; ids of 1 to 255 letters, digits and . _ : -; moments of 1900 to 2199 with their offset; at most 8,192 bytes'));
end
$$;
comment on function tokenbook.check_subscription_event is
  'Refuses what is no fact of a subscription; returns when it happened.';
