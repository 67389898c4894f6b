/*
 * Says what came of sending a delivery. Without p_error it is delivered. With one it is due again after
 * a pause that is four times as long as the one before (10 s, 40 s, … at most 6 hours), a quarter
 * more or less so that many do not come back at once; after the tenth attempt it is given up.
 * When two callers sent it, because one was slow, the result of the one that delivered it counts.
 * Caller: service_role.   Locks: the delivery.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.settle_token_webhook(
  p_user_id uuid,
  p_delivery_id bigint,
  p_claim_id uuid,
  p_error text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_spread constant double precision := 0.75 + random() / 2;
  v_delivery tokenbook.webhook_deliveries;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  update tokenbook.webhook_deliveries d
     set status = case when p_error is null then 'delivered' when d.attempts >= 10 then 'given_up' else 'pending' end,
         next_attempt_at = case when p_error is not null and d.attempts < 10
           then v_now + least(10 * 4 ^ (d.attempts - 1), 21600) * v_spread * interval '1 second' end,
         claim_id = null,
         settled_at = case when p_error is null or d.attempts >= 10 then v_now end,
         last_error = left(p_error, 200)
   where d.user_id = p_user_id and d.id = p_delivery_id and d.attempts > 0 -- a delivery that no caller has claimed was not sent
     and case when p_error is null then d.status <> 'delivered'
              else d.status = 'pending' and d.claim_id = p_claim_id end;
  select d.* into v_delivery from tokenbook.webhook_deliveries d where d.user_id = p_user_id and d.id = p_delivery_id;
  return jsonb_build_object(
    'status', v_delivery.status, 'attempts', v_delivery.attempts, 'next_attempt_at', v_delivery.next_attempt_at);
end
$$;
comment on function tokenbook.settle_token_webhook is
  'Says what came of sending a delivery that claim_token_webhooks handed out: delivered, or p_error (its first 200 characters are kept) and it is sent again later, ten times in all. For the server. Returns {status (pending, delivered, given_up; NULL = no such delivery), attempts, next_attempt_at}.';
