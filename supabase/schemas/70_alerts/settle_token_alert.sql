/*
 * Says what came of sending an alert. Without p_error it is delivered. With one it is due again after
 * a pause that is four times as long as the one before (10 s, 40 s, … at most 6 hours), a quarter
 * more or less so that many do not come back at once; after the tenth attempt it is given up.
 * Of two who sent it, because one was slow, the word of whoever delivered it counts.
 * Caller: service_role.   Locks: the alert.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.settle_token_alert(
  p_user_id uuid,
  p_alert_id bigint,
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
  v_alert public.token_alerts;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  update public.token_alerts t
     set delivery = case when p_error is null then 'delivered' when t.attempts >= 10 then 'given_up' else 'pending' end,
         next_attempt_at = case when p_error is not null and t.attempts < 10
           then v_now + least(10 * 4 ^ (t.attempts - 1), 21600) * (0.75 + random() / 2) * interval '1 second' end,
         settled_at = case when p_error is null or t.attempts >= 10 then v_now end,
         last_error = coalesce(left(p_error, 200), t.last_error)
   where t.user_id = p_user_id and t.id = p_alert_id and t.attempts > 0 -- what nobody was given, nobody has sent
     and case when p_error is null then t.delivery <> 'delivered'
              else t.delivery = 'pending' and t.claim_id = p_claim_id end;
  select t.* into v_alert from public.token_alerts t where t.user_id = p_user_id and t.id = p_alert_id;
  return jsonb_build_object(
    'delivery', v_alert.delivery, 'attempts', v_alert.attempts, 'next_attempt_at', v_alert.next_attempt_at);
end
$$;
comment on function tokenbook.settle_token_alert is
  'Says what came of sending an alert that claim_token_alerts handed out: delivered, or p_error (its first 200 characters are kept) and it is sent again later, ten times in all. For the server. Returns {delivery (pending, delivered, given_up; NULL = no such alert), attempts, next_attempt_at}.';
