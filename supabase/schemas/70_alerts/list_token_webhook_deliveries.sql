/*
 * Deliveries of the last 30 days, newest first, in pages: of one endpoint or of all that there are, of one status or of
 * any.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_page, webhook_endpoint_not_found (too long a name).   Keeps: I11.
 */
-- Security definer: nobody may read the table themselves.
create function tokenbook.list_token_webhook_deliveries(
  p_endpoint text default null,
  p_status text default null,
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deliveries tokenbook.webhook_deliveries[];
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  elsif octet_length(p_endpoint) > 32 then -- no endpoint has such a name
    perform tokenbook.refuse('webhook_endpoint_not_found', '{}');
  elsif p_status not in ('pending', 'delivered', 'given_up') then
    perform tokenbook.refuse('invalid_page', '{"field": "p_status", "rule": "pending, delivered or given_up"}');
  end if;
  -- so many of each endpoint and status by the index, then the newest of these
  v_deliveries := array(
    select d.delivery
      from (select e.name from tokenbook.webhook_endpoints e where p_endpoint is null
            union select p_endpoint where p_endpoint is not null) of_endpoint (name)
     cross join (values ('pending'), ('delivered'), ('given_up')) as of_status (status)
     cross join lateral (
       select w as delivery
         from tokenbook.webhook_deliveries w
        where w.endpoint = of_endpoint.name and w.status = of_status.status
          and w.id < coalesce(p_before, 9223372036854775807)
        order by w.id desc
        limit p_limit + 1) d
     where p_status is null or of_status.status = p_status
     order by (d.delivery).id desc
     limit p_limit + 1);
  return jsonb_build_object(
    'deliveries', (
      select coalesce(jsonb_agg(
               to_jsonb(d) - array['alert_id', 'payload', 'claim_id', 'queued_at']
                 || jsonb_build_object('data', tokenbook.webhook_data(d)) order by d.id desc), '[]')
        from unnest(v_deliveries[:p_limit]) d),
    'next_before', case when cardinality(v_deliveries) > p_limit then v_deliveries[p_limit].id end);
end
$$;
comment on function tokenbook.list_token_webhook_deliveries is
  'Deliveries of webhooks of the last 30 days, newest first: of one endpoint (p_endpoint), or of all that there are. For an admin or the server. p_status pending, delivered or given_up; p_limit 1 to 200; p_before the next_before of the page before. Returns {deliveries: [{id, event_id (the webhook-id), endpoint, user_id (all zeros: the project), kind, data (as it is sent), created_at, status, attempts, next_attempt_at, last_error, settled_at}], next_before (NULL on the last page)}. Errors: invalid_page, webhook_endpoint_not_found (too long a name), forbidden.';
