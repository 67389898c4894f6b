/*
 * A balance and its grants, and a quote and who would pay it, are of one moment: choose_grants sees
 * what the statement sees that asks it. It was volatile, so that a deduction in between could be in
 * the grants and not yet in the total.
 *
 * Whoever waits for an account stands in a queue, and is answered with busy after four seconds at the
 * latest; with many at one account the statement's own timeout came first, which is a server error.
 * Nothing is stored differently.
 */

-- from supabase/schemas/30_guards/lock_account.sql

/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle.
 * Whoever finds it taken stands in a queue, an advisory lock, and only the first in it waits for the
 * row. Those who wait for a row itself are all woken by each change of it and wait anew, and no
 * timeout bounds that: with 200 at one account the statement's own (8 s in a hosted project) came
 * first, and that is no answer. Now it is two seconds in the queue and two at the row, then busy.
 * What is right rests on the row alone.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
  v_queue bigint := pg_catalog.uuid_hash_extended(p_user_id, 0);
begin
  if not pg_catalog.pg_try_advisory_xact_lock(v_queue) then
    -- this transaction may have the row already: then it must not stand behind who waits for it
    perform from public.token_accounts a where a.user_id = p_user_id for no key update skip locked;
    if not found then
      perform pg_catalog.pg_advisory_xact_lock(v_queue);
    end if;
  end if;
  if p_create then
    insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
  end if;
  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update;
  return v_account;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_account(uuid, boolean) is
  'Locks the user''s account row (at most four seconds, then busy) and returns it; NULL when there is none, unless p_create.';
revoke all on function private.lock_account(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/lock_provider_payment.sql

/*
 * Locks what is known of a provider's payment, and returns it; NULL when nothing is (with p_create
 * it is made first). Taken before the account's lock, always; waits at most three seconds, then
 * says busy.
 * Caller: internal.   Errors: busy.
 */
create or replace function private.lock_provider_payment(
  p_provider text,
  p_provider_payment_id text,
  p_create boolean default false
)
returns private.provider_payments
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '1500ms' -- twice, and the account's after it: together less than the statement may take
as $$
declare
  v_facts private.provider_payments;
begin
  if p_create then
    insert into private.provider_payments (provider, provider_payment_id)
    values (p_provider, p_provider_payment_id)
    on conflict do nothing;
  end if;
  select f.* into v_facts
    from private.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
     for no key update;
  return v_facts;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_provider_payment(text, text, boolean) is
  'Locks the facts of a provider''s payment (at most three seconds, then busy) and returns them.';
revoke all on function private.lock_provider_payment(text, text, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/choose_grants.sql

/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less.
 * The one place that knows the order: a deduction takes what this says, a quote and the balance
 * show it. fifo: priority, granted_at, id. expiring_first: priority, expires_at (never last),
 * granted_at, id.
 * With p_count_due what holds that have run out will give back counts as if it were back, for who
 * only looks; a deduction books it first.
 * Caller: internal.   Keeps: I7, I8.
 */
create or replace function private.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  p_count_due boolean default false,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_expiring_first boolean := coalesce(
    (select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false);
  v_grants refcursor;
  v_id uuid;
  v_remaining bigint;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  if p_count_due then
    open v_grants for
      select b.id, b.tokens_remaining + coalesce(back.tokens, 0)
        from public.token_balances b
        left join (
          select part.grant_id, sum(part.tokens)::bigint as tokens
            from public.token_holds h
           cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
           where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
           group by part.grant_id) back on back.grant_id = b.id
       where b.user_id = p_user_id and (b.is_open or back.tokens > 0) and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, case when v_expiring_first then b.expires_at else '-infinity' end, b.granted_at, b.id;
  elsif v_expiring_first then
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.expires_at, b.granted_at, b.id;
  else
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.granted_at, b.id;
  end if;
  loop
    exit when v_needed <= 0 or cardinality(grant_ids) >= p_limit;
    fetch v_grants into v_id, v_remaining;
    exit when not found;
    grant_ids := grant_ids || v_id;
    grant_tokens := grant_tokens || least(v_remaining, v_needed);
    v_needed := v_needed - v_remaining;
  end loop;
  close v_grants;
end
$$;
comment on function private.choose_grants(uuid, bigint, timestamptz, integer, boolean) is
  'Which grants would pay for that many tokens now, and how much each, in burn order; at most p_limit grants; with p_count_due what holds that have run out give back counts too.';
revoke all on function private.choose_grants(uuid, bigint, timestamptz, integer, boolean) from public, anon, authenticated, service_role;
