/*
 * Why a provider's payment waits, in words: its reason, and what it is in this case: what was expected and what came,
 * how many there were and may be, which field cannot be read, what else is booked.
 * Caller: internal.
 */
create function tokenbook.explain_parking(p_facts tokenbook.provider_payments)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_details constant jsonb := coalesce(p_facts.parked_details, '{}');
begin
  return concat_ws(' ',
    tokenbook.parked_reasons() ->> p_facts.parked_reason,
    case when v_details ? 'expected_cents' then -- @parking-says-the-expected
      format('Expected: %s %s, paid: %s %s, each in the smallest unit of its currency.',
        v_details ->> 'expected_cents', v_details ->> 'expected_currency', p_facts.amount_cents, p_facts.currency) end,
    case when v_details ? 'at_most' then
      format('Bought: %s, at most: %s.', v_details ->> 'quantity', v_details ->> 'at_most') end,
    case when v_details ? 'rule' then
      format('%s must be: %s.', v_details ->> 'field', v_details ->> 'rule') end,
    case when v_details ? 'other_payment_id' then
      format('Booked: %s, for the period from %s. Payments for periods: %s, as the provider has said last.',
        v_details ->> 'other_payment_id', v_details ->> 'other_period_start', coalesce(v_details ->> 'cycles_completed', 'not known')) end,
    case when v_details ? 'credited_payment_id' then
      format('The credit is %s. From the balance: %s of %s %s.',
        v_details ->> 'credited_payment_id', v_details ->> 'from_balance_cents', p_facts.amount_cents, p_facts.currency) end,
    case when v_details ? 'already_paid_with' then
      format('Given already, and paid from that balance since: %s.',
        (select string_agg(it.id, ', ') from jsonb_array_elements_text(v_details -> 'already_paid_with') it (id))) end,
    case when v_details ? 'error' then
      format('The error is %s (docs/errors.md).', v_details ->> 'error') end);
end
$$;
comment on function tokenbook.explain_parking is
  'Why a provider''s payment waits for an admin, in words, with what was expected and what came.';
