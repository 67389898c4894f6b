/*
 * Says that a transaction which was booked out of the order of time has been looked into: a clock stepped back, and
 * the ledger cannot be changed. verify_token_ledger leaves that one entry out from then on, as long as it and the
 * one before it say what they say now. No other invariant can be acknowledged: what else it finds can be mended.
 * Caller: an admin, service_role.   Locks: nothing; of two at once the first holds.
 * Returns {success, transaction_id, booked_at, reason, acknowledged_at, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, finding_not_found.   Keeps: I10.
 */
-- Security definer: callers have no write access to the table, and an admin reads other users' rows.
create function tokenbook.acknowledge_token_finding(
  p_user_id uuid,
  p_transaction_id bigint,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_finding tokenbook.acknowledged_findings;
  v_replayed boolean;
begin
  -- validate
  select * into v_finding.actor_role, v_finding.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  perform tokenbook.require_here(p_user_id, p_for_write => true);

  -- act: the finding as it is now, asked of the ledger itself; one that is acknowledged already is still there
  select t.created_at, before.created_at into v_finding.booked_at, v_finding.booked_before
    from public.token_transactions t
    left join public.token_transactions before on before.user_id = p_user_id and before.id = t.id - 1
   where t.user_id = p_user_id and t.id = p_transaction_id
     and (t.created_at < before.created_at - interval '1 minute' -- @acknowledged-if-found
       or t.created_at > clock_timestamp() + interval '1 minute');
  if v_finding.booked_at is null then
    perform tokenbook.refuse('finding_not_found', '{}');
  end if;

  -- record
  insert into tokenbook.acknowledged_findings
    (user_id, transaction_id, booked_at, booked_before, reason, actor_role, actor_id)
  values
    (p_user_id, p_transaction_id, v_finding.booked_at, v_finding.booked_before, p_reason,
     v_finding.actor_role, v_finding.actor_id)
  on conflict do nothing;
  v_replayed := not found;
  select f.* into v_finding from tokenbook.acknowledged_findings f
   where f.user_id = p_user_id and f.transaction_id = p_transaction_id and f.booked_at = v_finding.booked_at;
  return jsonb_build_object(
    'success', true,
    'transaction_id', v_finding.transaction_id,
    'booked_at', v_finding.booked_at,
    'reason', v_finding.reason,
    'acknowledged_at', v_finding.acknowledged_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.acknowledge_token_finding is
  'Says that a transaction which verify_token_ledger finds booked out of the order of time has been looked into: a clock stepped back. That one entry is left out from then on, as long as it says what it says now; nothing else can be acknowledged. For an admin or the server. p_transaction_id the entry''s number; p_reason 1 to 500 characters. Twice changes nothing and answers replayed. Returns {success, transaction_id, booked_at, reason, acknowledged_at, replayed}. Errors: invalid_reason, finding_not_found, forbidden.';
