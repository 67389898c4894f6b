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
  -- with its offset: without one it would be another moment in another session
  v_moment constant text := '^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$';
  v_kind constant text := case jsonb_typeof(p_facts) when 'object' then p_facts ->> 'kind' end;
  v_field text;
begin
  v_field := case
    when p_provider is null or p_provider not in ('stripe', 'paypal') then 'p_provider'
    when coalesce(p_event_id, '') !~ v_id then 'p_event_id'
    when coalesce(length(p_event_type), 0) not between 1 and 255 then 'p_event_type'
    when coalesce(p_provider_subscription_id, '') !~ v_id then 'p_provider_subscription_id'
    when coalesce(v_kind, '') <> 'subscription' or octet_length(p_facts::text) > 8192 then 'p_facts'
    when coalesce(p_facts ->> 'occurred_at', '') !~ v_moment then 'occurred_at'
    when coalesce(p_facts ->> 'status', '') not in ('active', 'past_due', 'paused', 'cancelled') then 'status'
    when p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'user_id'
    when p_facts ->> 'customer_id' !~ v_id then 'customer_id'
    when p_facts ->> 'plan_type' !~ v_id then 'plan_type'
    when p_facts ->> 'price_id' !~ v_id then 'price_id'
    when p_facts ->> 'cancel_at' !~ v_moment then 'cancel_at'
    when p_facts ->> 'current_period_end' !~ v_moment then 'current_period_end'
  end;
  if v_field is null then
    begin
      perform (p_facts ->> 'cancel_at')::timestamptz, (p_facts ->> 'current_period_end')::timestamptz;
      return (p_facts ->> 'occurred_at')::timestamptz;
    exception
      when datetime_field_overflow or invalid_datetime_format then
        v_field := 'occurred_at, cancel_at, current_period_end';
    end;
  end if;
  perform tokenbook.refuse('invalid_provider_event', jsonb_build_object('field', v_field, 'rule',
    'a known provider, kind and status; ids of 1 to 255 letters, digits and . _ : -; moments of 1900 to 2199 with their offset; at most 8,192 bytes'));
end
$$;
comment on function tokenbook.check_subscription_event is
  'Refuses what is no fact of a subscription; returns when it happened.';
