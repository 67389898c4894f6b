/*
 * The 1,000 deliveries of an endpoint that are due first: as far as one call looks (I11), however many are undelivered.
 * Caller: internal.   Locks: nothing: the caller locks each one that it takes, and checks again whether it is due.
 */
create function tokenbook.first_due_webhooks(p_endpoint text, p_now timestamptz)
returns table (id bigint, next_attempt_at timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select d.id, d.next_attempt_at
    from tokenbook.webhook_deliveries d
   where d.endpoint = p_endpoint and d.status = 'pending' and d.next_attempt_at <= p_now
   order by d.next_attempt_at
   limit 1000;
end
$$;
comment on function tokenbook.first_due_webhooks is
  'The 1,000 deliveries of an endpoint that are due to be sent first, as far as one call of claim_token_webhooks looks.';
