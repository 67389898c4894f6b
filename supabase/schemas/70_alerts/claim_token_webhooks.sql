/*
 * Hands out what is due to be sent to an endpoint, at most p_limit deliveries, each to one caller only for
 * p_lease_seconds. Deliveries of a caller that dies are handed out again when the lease ends: at least
 * once, under an id that stays the same. What was begun ten times or is three days old is given up,
 * and says so. Looks at the 1,000 that are due first; of these what is given up makes room for the next. What is older
 * than 30 days is deleted, whatever became of it, 1,000 a call.
 * Caller: service_role.   Locks: these rows of the outbox, skipping those that others hold.
 * Errors: webhook_endpoint_not_found (too long a name), invalid_page.   Keeps: I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.claim_token_webhooks(
  p_endpoint text,
  p_limit integer default 20,
  p_lease_seconds integer default 60
)
returns table (user_id uuid, delivery_id bigint, claim_id uuid, event_id text, kind text, data jsonb, created_at timestamptz, attempt integer)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_claim_id uuid := gen_random_uuid();
  v_hopeless bigint;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if octet_length(p_endpoint) > 32 then -- no endpoint has such a name
    perform tokenbook.refuse('webhook_endpoint_not_found', '{}');
  end if;
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  delete from tokenbook.webhook_deliveries d
   using (
     select o.id
       from tokenbook.webhook_deliveries o
      where o.id in (select f.id from tokenbook.webhook_deliveries f order by f.id limit 1000)
        and greatest(o.created_at, o.queued_at) < v_now - interval '30 days'
        for update skip locked) old
   where d.id = old.id;

  -- repeated until the first 1,000 leave something to hand out, a bounded number of times
  for i in 1..10
  loop
    update tokenbook.webhook_deliveries d
       set status = 'given_up', next_attempt_at = null, claim_id = null, settled_at = v_now,
           last_error = coalesce(d.last_error, case when d.attempts >= 10 then 'no answer' else 'too old' end)
      from (
        select o.id
          from tokenbook.first_due_webhooks(p_endpoint, v_now) first
          join tokenbook.webhook_deliveries o on o.id = first.id
         where o.status = 'pending' and o.next_attempt_at <= v_now
           and (o.attempts >= 10 or o.queued_at < v_now - interval '72 hours')
           for no key update of o skip locked) hopeless
     where d.id = hopeless.id;
    get diagnostics v_hopeless = row_count;
    exit when v_hopeless < 1000;
  end loop;

  return query
  with due as (
    select o.id
      from tokenbook.first_due_webhooks(p_endpoint, v_now) first
      join tokenbook.webhook_deliveries o on o.id = first.id
     where o.status = 'pending' and o.next_attempt_at <= v_now
       and o.attempts < 10 and o.queued_at >= v_now - interval '72 hours'
       and exists (select 1 from tokenbook.webhook_endpoints e where e.name = p_endpoint and e.is_enabled)
     order by first.next_attempt_at
     limit p_limit
       for no key update of o skip locked
  ), claimed as (
    update tokenbook.webhook_deliveries d
       set attempts = d.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second' -- @claimed-by-one
      from due
     where d.id = due.id
    returning d as delivery
  )
  select (c.delivery).user_id, (c.delivery).id, (c.delivery).claim_id, (c.delivery).event_id, (c.delivery).kind,
         tokenbook.webhook_data(c.delivery), (c.delivery).created_at, (c.delivery).attempts
    from claimed c
   order by (c.delivery).id;
end
$$;
comment on function tokenbook.claim_token_webhooks is
  'Hands out at most p_limit (1 to 200) deliveries that are due to be sent to an endpoint, to this caller only for p_lease_seconds (1 to 3600); to be settled with settle_token_webhook. For the server: what deliver-webhooks calls. Gives up what was begun ten times or was queued three days ago, and deletes what is older than 30 days. Of an endpoint that is not enabled, or not there, it hands out nothing. Returns user_id (all zeros: the project), delivery_id, claim_id, event_id (the webhook-id), kind, data, created_at, attempt. Errors: webhook_endpoint_not_found (too long a name), invalid_page.';
