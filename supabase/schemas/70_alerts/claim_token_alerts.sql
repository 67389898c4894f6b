/*
 * Hands out alerts that are due to be sent, at most p_limit of them, each to one caller only for
 * p_lease_seconds. Whoever dies with some loses them to the next one when the lease ends: at least
 * once, under an id that stays the same. What was begun ten times or is three days old is given up,
 * and says so. Looks at the 1,000 that are due first; of these what is given up makes room for the next.
 * Caller: service_role.   Locks: these rows of the outbox, skipping those that others hold.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.claim_token_alerts(p_limit integer default 20, p_lease_seconds integer default 60)
returns table (user_id uuid, alert_id bigint, claim_id uuid, kind text, rule text, payload jsonb, created_at timestamptz, attempt integer)
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
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  -- until something is left of the first 1,000 to hand out, but not without end
  for i in 1..10
  loop
    update public.token_alerts t
       set delivery = 'given_up', next_attempt_at = null, settled_at = v_now,
           last_error = coalesce(t.last_error, case when t.attempts >= 10 then 'no answer' else 'too old' end)
      from (
        select o.user_id, o.id
          from tokenbook.first_due_alerts(v_now) first
          join public.token_alerts o on o.user_id = first.user_id and o.id = first.id
         where o.delivery = 'pending' and o.next_attempt_at <= v_now
           and (o.attempts >= 10 or o.created_at < v_now - interval '72 hours')
           for no key update of o skip locked) hopeless
     where t.user_id = hopeless.user_id and t.id = hopeless.id;
    get diagnostics v_hopeless = row_count;
    exit when v_hopeless < 1000;
  end loop;

  return query
  with due as (
    select o.user_id, o.id
      from tokenbook.first_due_alerts(v_now) first
      join public.token_alerts o on o.user_id = first.user_id and o.id = first.id
     where o.delivery = 'pending' and o.next_attempt_at <= v_now
       and o.attempts < 10 and o.created_at >= v_now - interval '72 hours'
     order by first.next_attempt_at
     limit p_limit
       for no key update of o skip locked
  ), claimed as (
    update public.token_alerts t
       set attempts = t.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second' -- @claimed-by-one
      from due
     where t.user_id = due.user_id and t.id = due.id
    returning t.*
  )
  select c.user_id, c.id, c.claim_id, c.kind, c.rule, c.payload, c.created_at, c.attempts
    from claimed c
   order by c.created_at, c.user_id, c.id;
end
$$;
comment on function tokenbook.claim_token_alerts is
  'Hands out at most p_limit (1 to 200) alerts that are due to be sent, to this caller only for p_lease_seconds (1 to 3600); to be settled with settle_token_alert. For the server: what deliver-alerts calls. Gives up what was begun ten times or is three days old. Returns user_id, alert_id, claim_id, kind, rule, payload, created_at, attempt. Errors: invalid_page.';
