/*
 * Hands out top-up requests that are due to be charged, at most p_limit of them, each to one caller only while the
 * lease lasts. A request that the caller does not settle, because it died or does not know what came of the charge, is
 * handed out again when the lease ends; each lease is longer than the one before.
 * What a request costs, and which customer pays, is what the catalogue and the books say at the first claim, and
 * stays: the charge is asked for again in the same words, or the provider could not tell that it is the same.
 *
 * fault says why nothing is to be charged (any more), NULL where it may be:
 *   switched_off, account_frozen, user_not_found    the user does not want it, or may not
 *   no_price         for tokens without a pack; or what it is for costs nothing
 *   not_offered      the plan or pack is not sold any more
 *   no_customer      the user has never paid at Stripe, so that there is no card
 *   too_old          asked for three days ago, and nobody has charged it
 *   no_answer        first tried 20 hours ago: the provider forgets after 24 what it was asked for under a key
 * A caller that is handed a request again looks first whether the charge was made.
 * Caller: service_role.   Locks: these requests, skipping those that others hold.   Errors: invalid_page.   Keeps: I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.claim_token_top_ups(p_limit integer default 10, p_lease_seconds integer default 120)
returns table (user_id uuid, request_id uuid, plan_type text, pack_type text, quantity integer, amount_cents bigint, currency text, customer_id text, created_at timestamptz, attempt integer, first_attempt_at timestamptz, fault text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  return query
  with due as (
    select r.user_id, r.id
      from public.token_top_up_requests r
     where r.status = 'pending' and r.next_attempt_at <= v_now
       and not exists (
         select 1 from public.token_accounts a where a.user_id = r.user_id and a.state not in ('active', 'frozen')) -- @charged-where-they-are
     order by r.next_attempt_at
     limit p_limit
       for no key update skip locked
  ), claimed as (
    update public.token_top_up_requests r
       set attempts = r.attempts + 1,
           first_attempt_at = coalesce(r.first_attempt_at, v_now),
           next_attempt_at = v_now + p_lease_seconds * 2 ^ least(r.attempts, 6) * interval '1 second', -- @charged-by-one-run
           amount_cents = case when r.attempts = 0 then o.amount_cents else r.amount_cents end, -- @price-of-first-claim
           currency = case when r.attempts = 0 then o.currency else r.currency end,
           customer_id = case when r.attempts = 0 then tokenbook.customer_of('stripe', r.user_id) else r.customer_id end
      from due
      join public.token_top_up_requests asked on asked.user_id = due.user_id and asked.id = due.id
     cross join lateral tokenbook.find_offer(asked.plan_type, asked.pack_type, asked.quantity) o
     where r.user_id = due.user_id and r.id = due.id
    returning r.*, o.is_offered
  )
  select c.user_id, c.id, c.plan_type, c.pack_type, c.quantity, c.amount_cents, c.currency, c.customer_id,
         c.created_at, c.attempts, c.first_attempt_at,
         case
           when not tokenbook.is_user(c.user_id) then 'user_not_found'
           when tokenbook.is_frozen(row(a.*)::public.token_accounts, null) then 'account_frozen'
           when t.is_enabled is not true then 'switched_off' -- @switched-off-pays-nothing
           when coalesce(c.amount_cents, 0) = 0 then 'no_price'
           when c.is_offered is not true then 'not_offered'
           when c.customer_id is null then 'no_customer'
           when c.attempts = 1 and c.created_at < v_now - interval '72 hours' then 'too_old'
           when c.first_attempt_at < v_now - interval '20 hours' then 'no_answer'
         end
    from claimed c
    join public.token_accounts a on a.user_id = c.user_id
    left join public.token_top_ups t on t.user_id = c.user_id
   order by c.created_at, c.user_id;
end
$$;
comment on function tokenbook.claim_token_top_ups is
  'Hands out at most p_limit (1 to 200) top-up requests that are due to be charged, to this caller only for p_lease_seconds (1 to 3600; twice as long with each attempt); to be settled with settle_token_top_up. For the server: what the edge function top-up calls. Price and customer are those of the first claim. Returns user_id, request_id, plan_type, pack_type, quantity, amount_cents, currency, customer_id, created_at, attempt, first_attempt_at, fault (why nothing is to be charged: user_not_found, account_frozen, switched_off, no_price, not_offered, no_customer, too_old, no_answer; NULL = charge it). Errors: invalid_page.';
