/*
 * Refuses what is no fact of a payment, with what it must be: every text has its bound, every kind what it cannot
 * do without, and nothing that is another's. Returns when it happened.
 * Caller: internal.   Errors: invalid_provider_event.
 */
create function tokenbook.check_payment_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
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
  v_cents constant text := '^[0-9]{1,15}$';
  v_kind constant text := case jsonb_typeof(p_facts) when 'object' then p_facts ->> 'kind' end;
  v_field text;
begin
  v_field := case
    when p_provider is null or p_provider not in ('stripe', 'paypal') then 'p_provider'
    when coalesce(p_event_id, '') !~ v_id or p_event_id like 'assigned:%' then 'p_event_id'
    when coalesce(length(p_event_type), 0) not between 1 and 255 then 'p_event_type'
    when coalesce(p_provider_payment_id, '') !~ v_id then 'p_provider_payment_id'
    when coalesce(v_kind, '') not in ('paid', 'refund', 'refunded', 'credit', 'dispute') or octet_length(p_facts::text) > 8192 then 'p_facts'
    when tokenbook.moment_of(p_facts ->> 'occurred_at') is null then 'occurred_at'
    when p_facts ->> 'currency' !~ '^[A-Za-z]{3}$' then 'currency'
    when p_facts ->> 'customer_id' !~ v_id then 'customer_id'
    when coalesce(p_facts ->> 'amount_cents', case when v_kind in ('refund', 'credit') then '' else '0' end) !~ v_cents then 'amount_cents'
    when case v_kind when 'refunded' then coalesce(p_facts ->> 'refunded_cents', '') !~ v_cents else p_facts ? 'refunded_cents' end then 'refunded_cents' -- @own-fields-only
    when case v_kind when 'refund' then coalesce(p_facts ->> 'refund_id', '') !~ v_id else p_facts ? 'refund_id' end then 'refund_id'
    when case v_kind when 'credit' then coalesce(p_facts ->> 'credit_id', '') !~ v_id else p_facts ? 'credit_id' end then 'credit_id'
    when case v_kind when 'dispute' then coalesce(p_facts ->> 'dispute_id', '') !~ v_id else p_facts ? 'dispute_id' end then 'dispute_id'
    when case v_kind
           when 'refund' then coalesce(p_facts ->> 'status', '') not in ('pending', 'succeeded', 'failed', 'canceled')
           when 'dispute' then coalesce(p_facts ->> 'status', '') not in ('inquiry', 'reversed', 'open', 'won', 'lost')
           else p_facts ? 'status'
         end then 'status'
    when p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'user_id'
    when num_nonnulls(p_facts -> 'plan_type', p_facts -> 'pack_type') > 1
      or p_facts ->> 'plan_type' !~ v_id then 'plan_type'
    when p_facts ->> 'pack_type' !~ v_id then 'pack_type'
    when p_facts ->> 'quantity' !~ '^[1-9][0-9]{0,8}$' then 'quantity'
    when p_facts ->> 'price_id' !~ v_id then 'price_id'
    when p_facts ->> 'subscription_id' !~ v_id then 'subscription_id'
    when p_facts ? 'period_start' and tokenbook.moment_of(p_facts ->> 'period_start') is null then 'period_start'
    when p_facts ? 'may_be_fee' and jsonb_typeof(p_facts -> 'may_be_fee') <> 'boolean' then 'may_be_fee'
    when p_facts ->> 'cycles_completed' !~ '^[0-9]{1,6}$' then 'cycles_completed'
    when p_facts ->> 'from_balance_cents' !~ '^-?[0-9]{1,15}$' then 'from_balance_cents'
    when not tokenbook.parked_reasons() ? (p_facts ->> 'parked_reason') then 'parked_reason'
    when p_facts ? 'parked_details'
      and (jsonb_typeof(p_facts -> 'parked_details') <> 'object' or octet_length((p_facts -> 'parked_details')::text) > 2048) then 'parked_details'
    when case jsonb_typeof(p_facts -> 'parts')
           when 'array' then jsonb_array_length(p_facts -> 'parts') > 100
             or exists (select 1 from jsonb_array_elements(p_facts -> 'parts') part where coalesce(part #>> '{}', '') !~ v_id)
           else p_facts ? 'parts'
         end then 'parts'
  end;
  if v_field is null then
    return tokenbook.moment_of(p_facts ->> 'occurred_at');
  end if;
  perform tokenbook.refuse('invalid_provider_event', jsonb_build_object('field', v_field, 'rule',
    'a known provider, kind, status and reason; ids of 1 to 255 letters, digits and . _ : -; whole amounts of at most 15 digits; a currency of three letters; moments of 1900 to 2199 with their offset; a plan or a pack; of refunds, credits and disputes their own fields; at most 100 parts and 8,192 bytes'));
end
$$;
comment on function tokenbook.check_payment_event is
  'Refuses what is no fact of a payment; returns when it happened.';
