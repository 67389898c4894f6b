/*
 * What the reference model found once it knew plans and payments:
 * - the payment that a plan came from is the one that began it: an event of an older one, sent again,
 *   undid an upgrade;
 * - what is bought now takes effect now, also before a period that was paid ahead;
 * - a balance cap is for renewals; an upgrade gives its tokens, and its key is kept;
 * - a plan without a price is in force when its time has come, whether anybody has read the balance or
 *   not; and a read does not wait for the lock to say so;
 * - a plan without an end is never due;
 * - voiding with take-back counts what was carried over, or became a grant of its own, once;
 * - a replay knows what was carried over, and a balance as of a moment does not count it as expired;
 * - receipts count what had run out and was not booked; replayed ones answer as the first did.
 * Nothing is stored differently.
 */

-- from supabase/schemas/40_books/replay.sql

/*
 * What each grant would have now if every deduction had been spread over the grants exactly: in burn
 * order, and over what had not run out at that moment. One ordered stream of everything that
 * happened, one user after the other, his grants in arrays; no query per user.
 *
 * Before the books opened: grants that came from an old transaction begin whole, and the old
 * deductions are spread over them. A grant of unknown history (the app made it, beside its
 * transactions) takes part with what it is known to have paid, and opens with what the opening
 * balance says it had.
 * Since then, the ledger: deductions and holds are spread anew; what is given back goes to where the
 * replay took it from; a clawback and a repaid debt take from the grants they name, then in burn
 * order; what was carried over comes out of the grant that closed, as far as it has it. A restatement changes what is stored, never what is exact: so nothing is left to restate
 * after one, and all of it is there again after its reversal. A repair by reconciliation is somebody's
 * decision and settles what was before it: from there on, what was stored then is exact.
 *
 * What has run out by p_now counts on neither side, booked or not. What found no grant to pay it is
 * uncovered: one row more for that user, without a grant.
 * For one user, for everyone, or for the users after p_after up to p_until.
 * Caller: internal.   Locks: nothing; one snapshot.   Keeps: I8.
 */
create or replace function private.replay(
  p_user_id uuid,
  p_after uuid,
  p_until uuid,
  p_now timestamptz
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security invoker
set search_path = ''
set work_mem = '64MB' -- the stream is sorted once
as $$
declare
  -- rows of the old project with these names are grants, whatever their sign
  c_grants constant text[] := array['subscription_grant', 'renewal_grant', 'trial_grant',
    'token_pack_purchase', 'pack_purchase', 'admin_grant'];
  v_order_since timestamptz[];
  v_order_names text[];
  v_event record;
  -- the user's grants, each at its place in burn order
  v_ids uuid[];
  v_types text[];
  v_granted bigint[];
  v_granted_at timestamptz[];
  v_expires_at timestamptz[]; -- 'infinity': never
  v_stored bigint[];
  v_opening bigint[];
  v_settled bigint[]; -- what was stored after the last repair, which is this transaction
  v_settled_id bigint;
  v_left bigint[]; -- NULL: not granted yet
  v_count integer;
  v_order integer[]; -- the places in the other burn order, while that is in force
  v_by_expiry integer[];
  v_head integer; -- what comes before it has nothing left
  v_uncovered bigint;
  v_moved jsonb; -- what was not taken as the ledger says, by transaction or hold: {of, ids, tokens}
  -- of one event
  v_needed bigint;
  v_nth integer;
  v_place integer;
  v_part bigint;
  v_part_ids uuid[];
  v_part_tokens bigint[];
  v_key text;
  v_of bigint;
  v_homeless bigint;
begin
  select array_agg(o.since order by o.since), array_agg(o.burn_order order by o.since)
    into v_order_since, v_order_names
    from private.burn_orders o;

  for v_event in
    with accounts as (
      select a.user_id from public.token_accounts a
       where (p_user_id is null or a.user_id = p_user_id)
         and (p_after is null or a.user_id > p_after)
         and (p_until is null or a.user_id <= p_until)
    ), ledger as not materialized (
      select t.*
        from public.token_transactions t
       where (p_user_id is null or t.user_id = p_user_id)
         and (p_after is null or t.user_id > p_after)
         and (p_until is null or t.user_id <= p_until)
    ), openings as (
      select t.user_id, t.grant_ids, t.grant_tokens, t.created_at
        from ledger t where t.entry_type = 'opening_balance' and t.id = 1
    ), opened as (
      select o.user_id, part.grant_id, part.tokens
        from openings o
       cross join lateral unnest(o.grant_ids, o.grant_tokens) as part (grant_id, tokens)
    ), repairs as (
      select t.user_id, max(t.id) as id
        from ledger t
       where t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^reconciliation'
       group by t.user_id
    ), settled as (
      select t.user_id, part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from repairs r
        join ledger t on t.user_id = r.user_id and t.id <= r.id and t.tokens <> t.reserved_change
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       group by t.user_id, part.grant_id
    ), grants as (
      select b.*, o.created_at as opened_at, opened.tokens as tokens_opened, settled.tokens as tokens_settled,
             (row_number() over (partition by b.user_id order by b.priority, b.granted_at, b.id))::integer as nth
        from public.token_balances b
        left join openings o on o.user_id = b.user_id and b.created_at <= o.created_at
        left join opened on opened.user_id = o.user_id and opened.grant_id = b.id
        left join settled on settled.user_id = b.user_id and settled.grant_id = b.id
       where (p_user_id is null or b.user_id = p_user_id)
         and (p_after is null or b.user_id > p_after)
         and (p_until is null or b.user_id <= p_until)
    ), queues as (
      select g.user_id,
             array_agg(g.id order by g.nth) as ids,
             array_agg(g.grant_type order by g.nth) as types,
             array_agg(g.tokens_granted order by g.nth) as granted,
             array_agg(g.granted_at order by g.nth) as granted_at,
             array_agg(coalesce(g.expires_at, 'infinity') order by g.nth) as expires_at,
             array_agg(g.tokens_remaining order by g.nth) as stored,
             array_agg(case when g.opened_at is null then null
                            when g.legacy_transaction_id is null then g.tokens_granted - coalesce(g.tokens_opened, 0)
                            else g.tokens_granted end order by g.nth) as at_first,
             array_agg(case when g.opened_at is not null and g.legacy_transaction_id is null
                            then coalesce(g.tokens_opened, 0) end order by g.nth) as opening,
             array_agg(g.tokens_settled order by g.nth) as settled,
             array_agg(g.nth order by g.priority, g.expires_at, g.granted_at, g.id)
               filter (where v_order_since is not null) as by_expiry
        from grants g
       group by g.user_id
    ), old_deductions as (
      select h.user_id, -h.tokens as tokens, h.created_at
        from public.legacy_token_transactions h
       where h.tokens < 0 and h.action_type <> all (c_grants)
         and (p_user_id is null or h.user_id = p_user_id)
         and (p_after is null or h.user_id > p_after)
         and (p_until is null or h.user_id <= p_until)
      union all
      -- who has no old transactions may have a trail of usage
      select u.user_id, u.tokens_used, u.created_at
        from public.token_usage u
        join openings o on o.user_id = u.user_id and u.created_at <= o.created_at
       where u.success and u.tokens_used > 0 and u.action_type <> all (c_grants)
         and not exists (
           select from public.legacy_token_transactions h
            where h.user_id = u.user_id and h.tokens < 0 and h.action_type <> all (c_grants))
    ), refunded as (
      select distinct t.user_id, t.original_id
        from ledger t where t.original_id is not null and t.entry_type = 'refund'
    )
    select a.user_id, 0 as stage, null::timestamptz as at, null::bigint as id, 'begin' as kind,
           null::bigint as tokens, null::boolean as is_refunded, null::uuid as hold_id, r.id as original_id,
           q.ids as grant_ids, q.at_first as grant_tokens, q.types, q.granted, q.granted_at, q.expires_at,
           q.stored, q.opening, q.settled, q.by_expiry
      from accounts a
      left join queues q on q.user_id = a.user_id
      left join repairs r on r.user_id = a.user_id
    union all
    select d.user_id, 1, d.created_at, null, 'old deduction', d.tokens, null, null, null,
           null, null, null, null, null, null, null, null, null, null
      from old_deductions d
    union all
    select t.user_id, 2, t.created_at, t.id,
           case when t.entry_type = 'deduction' and t.reserved_change <> 0 then 'capture' else t.entry_type end,
           greatest(abs(t.tokens), abs(t.reserved_change)), r.user_id is not null, t.hold_id, t.original_id,
           -- most are deductions, and what they took is only asked for when some of it comes back
           case when t.entry_type = 'rollover' then (
                  select array[b.rolled_over_from, b.id] from public.token_balances b
                   where b.user_id = t.user_id and b.id = t.grant_ids[1])
                when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_ids end,
           case when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_tokens end,
           null, null, null, null, null, null, null, null
      from ledger t
      left join refunded r on r.user_id = t.user_id and r.original_id = t.id
     where t.entry_type not in ('restatement', 'expiry', 'void', 'usage')
       and (t.entry_type <> 'rollover' or t.tokens > 0) -- the one into the new grant stands for both
    union all
    select a.user_id, 3, null, null, 'end', null, null, null, null,
           null, null, null, null, null, null, null, null, null, null
      from accounts a
    order by 1, 2, 3, 4
  loop
    v_needed := 0;
    v_key := null;

    if v_event.id = v_settled_id then
      v_left := v_settled;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'deduction' then
      v_needed := v_event.tokens;
      if v_event.is_refunded then
        v_key := v_event.id;
      end if;

    elsif v_event.kind = 'old deduction' then
      v_needed := v_event.tokens;

    elsif v_event.kind = 'grant' then
      v_nth := array_position(v_ids, v_event.grant_ids[1]);
      v_left[v_nth] := v_event.tokens;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'begin' then
      v_ids := v_event.grant_ids;
      v_types := v_event.types;
      v_granted := v_event.granted;
      v_granted_at := v_event.granted_at;
      v_expires_at := v_event.expires_at;
      v_stored := v_event.stored;
      v_opening := v_event.opening;
      v_settled := v_event.settled;
      v_settled_id := v_event.original_id;
      v_left := v_event.grant_tokens;
      v_count := coalesce(cardinality(v_ids), 0);
      v_order := null;
      v_by_expiry := v_event.by_expiry;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'end' then
      return query
        select v_event.user_id, g.id, g.type, g.granted_at, nullif(g.expires_at, 'infinity'), g.granted,
               now.exact, now.stored, now.stored - now.exact, 0::bigint
          from unnest(v_ids, v_types, v_granted_at, v_expires_at, v_granted, v_left, v_stored)
               as g (id, type, granted_at, expires_at, granted, left_over, stored)
         cross join lateral (
           select case when g.expires_at > p_now then coalesce(g.left_over, 0) else 0 end as exact,
                  case when g.expires_at > p_now then g.stored else 0 end as stored) now;
      if v_uncovered > 0 then
        return query
          select v_event.user_id, null::uuid, null::text, null::timestamptz, null::timestamptz, null::bigint,
                 0::bigint, 0::bigint, 0::bigint, v_uncovered;
      end if;

    elsif v_event.kind = 'opening_balance' then
      for v_nth in 1 .. v_count loop
        v_left[v_nth] := coalesce(v_opening[v_nth], v_left[v_nth]);
      end loop;
      v_head := 1;

    elsif v_event.kind = 'hold' then
      v_needed := v_event.tokens;
      v_key := v_event.hold_id;

    elsif v_event.kind in ('clawback', 'debt_repayment') then
      v_needed := v_event.tokens;
      for v_place in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[v_place]);
        v_part := least(coalesce(v_left[v_nth], 0), v_event.grant_tokens[v_place]);
        v_left[v_nth] := v_left[v_nth] - v_part;
        v_needed := v_needed - v_part;
      end loop;

    elsif v_event.kind = 'rollover' then
      -- out of the grant that closed, as far as it has it
      v_nth := array_position(v_ids, v_event.grant_ids[1]);
      v_part := least(coalesce(v_left[v_nth], 0), v_event.tokens);
      v_left[v_nth] := v_left[v_nth] - v_part;
      v_nth := array_position(v_ids, v_event.grant_ids[2]);
      v_left[v_nth] := v_part;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'capture' then
      v_key := v_event.hold_id;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        if v_event.is_refunded then
          v_moved := jsonb_set(v_moved, array[v_event.id::text],
                               (v_moved -> v_key) || jsonb_build_object('of', v_event.tokens));
        end if;
        if v_event.tokens = v_of then
          v_moved := v_moved - v_key;
        end if;
      end if;
      v_key := null;

    else -- release, refund, restoration: back to where it was taken from
      v_key := case v_event.kind when 'release' then v_event.hold_id::text when 'refund' then v_event.original_id::text end;
      v_part_ids := v_event.grant_ids;
      v_part_tokens := v_event.grant_tokens;
      v_homeless := 0;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        select part.grant_ids, part.grant_tokens into v_part_ids, v_part_tokens
          from private.parts_between(
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'ids')::uuid),
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'tokens')::bigint),
                 v_of - v_event.tokens, v_of) as part;
        v_moved := case when v_event.kind = 'release' or v_of = v_event.tokens then v_moved - v_key
                        else jsonb_set(v_moved, array[v_key, 'of'], to_jsonb(v_of - v_event.tokens)) end;
        for v_place in 1 .. cardinality(v_part_ids) loop
          v_nth := array_position(v_ids, v_part_ids[v_place]);
          if v_expires_at[v_nth] <= v_event.at then
            v_homeless := v_homeless + v_part_tokens[v_place];
          end if;
        end loop;
        -- what a refund reissued instead of forfeiting, as far as the replay has it to give back; a release
        -- that names such a grant gives nothing new
        for v_place in 1 .. cardinality(v_event.grant_ids) loop
          v_nth := array_position(v_ids, v_event.grant_ids[v_place]);
          if v_event.kind = 'refund' and v_left[v_nth] is null and v_homeless > 0 then
            v_part_ids := v_part_ids || v_ids[v_nth];
            v_part_tokens := v_part_tokens || least(v_homeless, v_event.grant_tokens[v_place]);
            v_homeless := v_homeless - least(v_homeless, v_event.grant_tokens[v_place]);
          end if;
        end loop;
      end if;
      for v_place in 1 .. cardinality(v_part_ids) loop
        v_nth := array_position(v_ids, v_part_ids[v_place]);
        v_left[v_nth] := least(coalesce(v_left[v_nth], 0) + v_part_tokens[v_place], v_granted[v_nth]);
        v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));
      end loop;
      v_key := null;
    end if;

    if v_needed > 0 then
      if v_event.stage = 2 and v_order_since is not null
        and coalesce(v_order_names[width_bucket(v_event.at, v_order_since)] = 'expiring_first', false) <> (v_order is not null)
      then
        v_order := case when v_order is null then v_by_expiry end;
        v_head := 1;
      end if;
      v_part_ids := '{}';
      v_part_tokens := '{}';
      v_place := v_head;
      while v_needed > 0 and v_place <= v_count loop
        v_nth := coalesce(v_order[v_place], v_place);
        if v_left[v_nth] > 0 and v_expires_at[v_nth] > v_event.at then
          -- an old deduction cannot have been paid by what was granted after it
          if v_event.stage = 2 or v_granted_at[v_nth] <= v_event.at then
            v_part := least(v_left[v_nth], v_needed);
            v_left[v_nth] := v_left[v_nth] - v_part;
            v_needed := v_needed - v_part;
            if v_key is not null then
              v_part_ids := v_part_ids || v_ids[v_nth];
              v_part_tokens := v_part_tokens || v_part;
            end if;
          end if;
        elsif v_place = v_head then
          v_head := v_head + 1;
        end if;
        v_place := v_place + 1;
      end loop;
      v_uncovered := v_uncovered + v_needed;
      if v_key is not null
        and (v_part_ids, v_part_tokens) is distinct from (v_event.grant_ids, v_event.grant_tokens)
      then
        v_moved := coalesce(v_moved, '{}') || jsonb_build_object(v_key, jsonb_build_object(
          'of', v_event.tokens, 'ids', v_part_ids, 'tokens', v_part_tokens));
      end if;
    end if;
  end loop;
end
$$;
comment on function private.replay(uuid, uuid, uuid, timestamptz) is
  'What each grant would have at p_now if all deductions had been spread over the grants exactly, beside what it has; and what found no grant to pay it.';
revoke all on function private.replay(uuid, uuid, uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/settle_payment.sql

/*
 * Brings the books to what is known of a provider's payment. Looks at the merged facts only, not
 * at the event that came last: so any order of events, and any number of times, ends in the same
 * state. The caller has locked the facts row; then the account is locked, always in this order.
 * Paid, with user and plan known: the plan and its tokens, once. Refunds and disputes:
 * private.settle_refunds.
 * Returns the payment; NULL while user, plan or the payment itself is missing.
 * Keeps: I1 to I5, I9.
 */
create or replace function private.settle_payment(p_facts private.provider_payments)
returns public.payments
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_payment public.payments;
  v_plan public.token_plans;
  v_entry public.token_transactions;
begin
  if p_facts.user_id is null or p_facts.plan_type is null or not p_facts.is_paid then
    return null;
  end if;

  v_account := private.lock_account(p_facts.user_id, p_create => true);
  if v_account.next_due_at <= clock_timestamp() then
    perform private.book_expiries(array[p_facts.user_id], clock_timestamp());
  end if;
  perform private.take_up_next_plan(p_facts.user_id);
  select p.* into v_payment
    from public.payments p
   where p.user_id = p_facts.user_id and p.provider = p_facts.provider
     and p.provider_payment_id = p_facts.provider_payment_id;
  if v_payment.id is null then
    select p.* into v_plan from public.token_plans p where p.plan_type = p_facts.plan_type;
    insert into public.payments as p
      (user_id, status, provider, provider_payment_id, from_plan, to_plan, amount_cents, currency,
       tokens, reason, decided_at)
    values
      (p_facts.user_id, 'approved', p_facts.provider, p_facts.provider_payment_id,
       (select s.plan_type from public.user_subscriptions s where s.user_id = p_facts.user_id),
       v_plan.plan_type, coalesce(p_facts.amount_cents, v_plan.price_cents),
       coalesce(p_facts.currency, v_plan.currency), v_plan.tokens,
       'paid at ' || p_facts.provider, clock_timestamp())
    returning p.* into v_payment;
    v_entry.user_id := p_facts.user_id;
    v_entry.reason := 'paid at ' || p_facts.provider;
    v_entry.actor_role := 'service';
    v_entry.payment_id := v_payment.id;
    v_entry.metadata := '{}';
    perform private.start_period(
      v_plan, p_facts.period_start, p_facts.provider, p_facts.provider_payment_id, v_entry);
    -- what it gave, for what a refund takes back
    update public.payments p
       set tokens = b.tokens_granted
      from public.token_balances b
     where p.user_id = v_payment.user_id and p.id = v_payment.id
       and b.user_id = p.user_id and b.payment_id = p.id
    returning p.* into v_payment;
  end if;

  return private.settle_refunds(
    v_payment, p_facts.refunded_cents, p_facts.was_disputed and not p_facts.dispute_was_won,
    'at ' || p_facts.provider, 'service', null);
end
$$;
comment on function private.settle_payment(private.provider_payments) is
  'Brings subscription, balance and debt to what the merged facts of a provider''s payment say; the same for every order of its events.';
revoke all on function private.settle_payment(private.provider_payments) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/start_period.sql

/*
 * Puts a user on a plan and gives a period's tokens, in one transaction: subscription, grant, mark
 * and storage, or nothing. What every flow is made of (registration, approval, upgrade, renewal,
 * initialisation), so that limit and balance cannot disagree whichever way a user came.
 *
 * p_entry is the transaction to be (user_id, actor, reason, key, request, payment_id). A payment is
 * granted once, and so is a period without one; a second time answers replayed and changes no
 * tokens. A renewal of a plan with a balance cap gives what fills the balance up to it; where that is
 * nothing, no grant is made and transaction is NULL.
 * When the period before closes with it, what that has left is carried over first, within the limits of
 * its plan (private.roll_over).
 * A payment for a period that is over (one of its own began since, or it ended before the present plan
 * began) gives its tokens; the subscription never goes back to it.
 * Tokens are added, never reset. The mark (tokens_limit) becomes the balance after it.
 * Locks: the account.   Errors: as issue_grant.   Keeps: I2 to I5, I9, I10.
 */
create or replace function private.start_period(
  p_plan public.token_plans,
  p_period_start timestamptz,
  p_payment_method text,
  p_provider_payment_id text,
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean,
  out subscription public.user_subscriptions
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_start timestamptz;
  v_grant public.token_balances;
  v_issued record;
  v_is_over boolean;
begin
  replayed := false;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := private.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_entry.user_id], v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;
  perform private.take_up_next_plan(p_entry.user_id);
  v_start := coalesce(p_period_start, v_now);

  -- replay: by key, by payment, by period
  select s.* into subscription from public.user_subscriptions s where s.user_id = p_entry.user_id;
  transaction := private.find_replay(p_entry);
  if transaction.id is null then
    -- a period that was renewed before its payment came is what that payment paid for
    update public.token_balances b
       set payment_id = p_entry.payment_id
     where b.user_id = p_entry.user_id and b.subscription_id = subscription.id
       and b.period_start = p_period_start and b.payment_id is null and p_entry.payment_id is not null;
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id
       and case when p_entry.payment_id is not null then b.payment_id = p_entry.payment_id
                else b.subscription_id = subscription.id and b.period_start = p_period_start end;
  end if;
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act: the period that closes
  if subscription.period_start < v_start then
    perform private.roll_over(subscription, v_start, p_entry.actor_role, p_entry.actor_id, v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;

  -- act: the subscription, unless a later period has taken this one's place
  v_is_over := p_period_start is not null and subscription.period_start > v_start
    and (subscription.expires_at is not null
      or private.period_end(p_plan.billing_cycle, v_start) <= subscription.period_start);
  if v_is_over is not true then
    insert into public.user_subscriptions as s
      (user_id, plan_type, articles_limit, features, billing_cycle, payment_method, payment_id,
       period_start, expires_at, auto_renew)
    values
      (p_entry.user_id, p_plan.plan_type, p_plan.articles_limit, p_plan.features, p_plan.billing_cycle,
       p_payment_method, coalesce(p_entry.payment_id::text, p_provider_payment_id),
       v_start, private.period_end(p_plan.billing_cycle, v_start), p_plan.billing_cycle <> 'none')
    on conflict (user_id) do update
       set plan_type = excluded.plan_type,
           articles_limit = excluded.articles_limit,
           features = excluded.features,
           billing_cycle = excluded.billing_cycle,
           is_active = true,
           auto_renew = excluded.auto_renew,
           payment_method = coalesce(excluded.payment_method, s.payment_method),
           payment_id = excluded.payment_id,
           period_start = excluded.period_start,
           expires_at = excluded.expires_at,
           next_plan_type = null,
           updated_at = v_now
    returning s.* into subscription;
  end if;

  -- act: the tokens
  v_grant.tokens_granted := p_plan.tokens;
  if p_plan.balance_cap is not null and p_entry.action_type = 'renewal_grant' then
    v_grant.tokens_granted := least(p_plan.tokens, p_plan.balance_cap - v_account.tokens_remaining);
  end if;
  if v_grant.tokens_granted > 0 then
    v_grant.grant_type := p_plan.grant_type;
    v_grant.priority := 50;
    v_grant.expires_at := case when p_plan.grant_lifetime_days is null then 'infinity' end;
    v_grant.payment_id := p_entry.payment_id;
    v_grant.subscription_id := subscription.id;
    -- a second payment in one period is a grant of its own, beside the period's
    if not exists (
      select from public.token_balances b
       where b.user_id = p_entry.user_id and b.subscription_id = subscription.id and b.period_start = v_start)
    then
      v_grant.period_start := v_start;
    end if;
    v_grant.metadata := coalesce(p_entry.metadata, '{}');
    p_entry.action_type := case
      when p_plan.grant_type = 'trial' then 'trial_grant'
      else coalesce(p_entry.action_type, 'subscription_grant')
    end;
    v_issued := private.issue_grant(v_grant, p_entry, p_plan.grant_lifetime_days * interval '24 hours');
    transaction := v_issued.transaction;
  end if;

  -- record: the mark is the balance
  update public.user_subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where s.user_id = p_entry.user_id and a.user_id = s.user_id
  returning s.* into subscription;
  perform private.renew_alert_marks(p_entry.user_id);
  if p_plan.storage_gb > 0 then
    insert into public.user_storage (user_id, quota_gb, subscription_id, metadata)
    select p_entry.user_id, p_plan.storage_gb, subscription.id, jsonb_build_object('plan', p_plan.plan_type)
     where not exists (
       select from public.user_storage q
        where q.user_id = p_entry.user_id and q.subscription_id = subscription.id
          and q.metadata ->> 'plan' = p_plan.plan_type);
  end if;
end
$$;
comment on function private.start_period(public.token_plans, timestamptz, text, text, public.token_transactions) is
  'Puts a user on a plan and gives a period''s tokens in one transaction; once per payment, and once per subscription and period.';
revoke all on function private.start_period(public.token_plans, timestamptz, text, text, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/approve_payment.sql

/*
 * Approves a pending payment: its plan and tokens, in this commit. Tokens are added to what the user
 * has, and the plan's mark becomes the new total. The payment is its own key: approving twice
 * answers what the first time answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.approve_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_payment public.payments;
  v_plan public.token_plans;
  v_started record;
  v_transaction public.token_transactions;
  v_subscription public.user_subscriptions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(null, p_reason, null);
  perform private.lock_account(p_user_id);
  select p.* into v_payment from public.payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'approved') then
    perform private.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  select p.* into v_plan from public.token_plans p where p.plan_type = v_payment.to_plan;
  if v_payment.status = 'pending' then
    update public.payments p
       set status = 'approved', tokens = v_plan.tokens, reason = coalesce(p_reason, 'approved'),
           decided_at = clock_timestamp(), decided_by = v_entry.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'payment approved');
  v_entry.payment_id := p_payment_id;
  v_entry.metadata := '{}';
  v_started := private.start_period(v_plan, null, v_payment.provider, v_payment.provider_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;

  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', 'approved',
    'plan_type', v_payment.to_plan,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed
      -- the mark as it was then: what came in, less what it repaid at once
      then v_transaction.balance_after + coalesce((
        select t.tokens from public.token_transactions t
         where t.user_id = p_user_id and t.id = v_transaction.id + 1 and t.entry_type = 'debt_repayment'), 0)
      else v_subscription.tokens_limit
    end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.approve_payment(uuid, uuid, text) is 'See public.approve_payment.';
revoke all on function private.approve_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.approve_payment(uuid, uuid, text) to authenticated, service_role;

create or replace function public.approve_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.approve_payment(p_user_id, p_payment_id, p_reason);
end
$$;
comment on function public.approve_payment(uuid, uuid, text) is
  'Approves a pending payment: the plan and its tokens in one commit, added to what the user has; the plan''s mark becomes the new total. For an admin or the server. Approving twice changes nothing and answers replayed. Returns {success, payment_id, status, plan_type, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.approve_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.approve_payment(uuid, uuid, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/create_payment.sql

/*
 * Asks for a plan: a payment that waits for an administrator. Price and currency are the
 * catalogue's, never the caller's.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.create_payment(
  p_user_id uuid,
  p_to_plan text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_plan public.token_plans;
  v_payment public.payments;
  v_key text;
  v_replayed boolean;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => true);
  perform private.check_request(p_idempotency_key, null, null);
  -- as in the ledger: a user's keys and the server's for him never meet
  v_key := case when v_actor.actor_role = 'user' then 'user:' else 'server:' end || p_idempotency_key;
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
    perform private.lock_account(p_user_id, p_create => true);
  end if;

  select p.* into v_payment
    from public.payments p
   where p.user_id = p_user_id and p.idempotency_key = v_key;
  v_replayed := v_payment.id is not null;
  if v_replayed and v_payment.to_plan is distinct from p_to_plan then
    perform private.refuse('idempotency_key_reused', '{"differs": ["to_plan"]}');
  end if;
  if not v_replayed then
    perform private.take_up_next_plan(p_user_id);
    select p.* into v_plan from public.token_plans p where p.plan_type = p_to_plan and p.is_offered;
    if v_plan.plan_type is null then
      perform private.refuse('plan_not_found', '{"field": "p_to_plan"}');
    end if;
    insert into public.payments as p (user_id, from_plan, to_plan, amount_cents, currency, idempotency_key)
    values (p_user_id,
            (select s.plan_type from public.user_subscriptions s where s.user_id = p_user_id),
            v_plan.plan_type, v_plan.price_cents, v_plan.currency,
            v_key)
    returning p.* into v_payment;
  end if;
  return jsonb_build_object(
    'success', true,
    'payment_id', v_payment.id,
    'status', v_payment.status,
    'from_plan', v_payment.from_plan,
    'to_plan', v_payment.to_plan,
    'amount_cents', v_payment.amount_cents,
    'currency', v_payment.currency,
    'replayed', v_replayed);
end
$$;
comment on function private.create_payment(uuid, text, text) is 'See public.create_payment.';
revoke all on function private.create_payment(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.create_payment(uuid, text, text) to authenticated, service_role;

create or replace function public.create_payment(
  p_user_id uuid,
  p_to_plan text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.create_payment(p_user_id, p_to_plan, p_idempotency_key);
end
$$;
comment on function public.create_payment(uuid, text, text) is
  'Asks for a plan: a pending payment for an admin to approve. For the user himself, an admin, or the server. Price and currency are the catalogue''s. Returns {success, payment_id, status, from_plan, to_plan, amount_cents, currency, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.create_payment(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.create_payment(uuid, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_token_balance_as_of.sql

/*
 * A user's balance as it was at a moment: from the ledger up to then, with what had run out by then
 * (booked or not) not counted. In one pass over the user's ledger.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_moment, user_not_found,
 * before_the_books.   Keeps: I7.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_token_balance_as_of(p_user_id uuid, p_at timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_opened_at timestamptz;
  v_expiring_first boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_at is null or p_at > clock_timestamp() then
    perform private.refuse('invalid_moment', '{"field": "p_at", "rule": "not in the future"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);
  select t.created_at into v_opened_at
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  if p_at < v_opened_at then
    perform private.refuse('before_the_books', jsonb_build_object('opened_at', v_opened_at));
  end if;
  select o.burn_order = 'expiring_first' into v_expiring_first
    from private.burn_orders o where o.since <= p_at order by o.since desc limit 1;

  return (
    with ledger as materialized (
      select t.entry_type, t.tokens, t.debt_change, t.reserved_change, t.grant_ids, t.grant_tokens
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at <= p_at
    ), totals as (
      select coalesce(sum(t.debt_change), 0)::bigint as owed,
             coalesce(sum(t.reserved_change), 0)::bigint as reserved,
             coalesce(-sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')), 0)::bigint as expired -- what was carried over is not lost
        from ledger t
    ), allocated as (
      select part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from ledger t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       where t.tokens <> t.reserved_change -- a capture spends what the hold had taken
       group by part.grant_id
    ), came_back as ( -- from holds that had run out, and nobody had booked it
      select part.grant_id, sum(part.tokens)::bigint as tokens
        from public.token_holds h
       cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
       where h.user_id = p_user_id and h.created_at <= p_at and h.expires_at <= p_at
         and (h.settled_at is null or h.settled_at > p_at)
       group by part.grant_id
    ), grants as (
      select b.id, b.grant_type, b.tokens_granted, b.priority, b.granted_at, b.expires_at,
             coalesce(b.expires_at > p_at, true) as is_alive,
             a.tokens, coalesce(c.tokens, 0) as back,
             row_number() over (
               partition by coalesce(b.expires_at > p_at, true) and a.tokens + coalesce(c.tokens, 0) > 0
               order by b.priority, case when v_expiring_first then b.expires_at else '-infinity' end, b.granted_at, b.id) as nth
        from allocated a
        join public.token_balances b on b.user_id = p_user_id and b.id = a.grant_id
        left join came_back c on c.grant_id = a.grant_id
    ), sums as (
      select coalesce(sum(g.tokens + g.back) filter (where g.is_alive), 0)::bigint as active,
             coalesce(sum(g.tokens + g.back) filter (where not g.is_alive), 0)::bigint as lost,
             coalesce(sum(g.back), 0)::bigint as back,
             coalesce(sum(g.back) filter (where g.is_alive), 0) > 0 as repays,
             min(g.expires_at) filter (where g.is_alive and g.tokens + g.back > 0) as next_expiry,
             count(*) filter (where g.is_alive and g.tokens + g.back > 0) > 100 as has_more,
             jsonb_agg(
               jsonb_build_object(
                 'id', g.id,
                 'grant_type', g.grant_type,
                 'tokens_granted', g.tokens_granted,
                 'tokens_remaining', g.tokens + g.back,
                 'priority', g.priority,
                 'granted_at', g.granted_at,
                 'expires_at', g.expires_at)
               order by g.nth) filter (where g.is_alive and g.tokens + g.back > 0 and g.nth <= 100) as listed
        from grants g
    )
    select jsonb_build_object(
      'user_id', p_user_id,
      'at', p_at,
      'total_active', sums.active - due.repaid,
      'total_expired', totals.expired + sums.lost,
      'total_reserved', totals.reserved - sums.back,
      'total_owed', totals.owed - due.repaid,
      'next_expiry', sums.next_expiry,
      'grants', coalesce(sums.listed, '[]'),
      'has_more_grants', sums.has_more)
      from totals
     cross join sums
     cross join lateral (
       select case when sums.repays then least(totals.owed, sums.active) else 0 end as repaid) due);
end
$$;
comment on function private.get_token_balance_as_of(uuid, timestamptz) is 'See public.get_token_balance_as_of.';
revoke all on function private.get_token_balance_as_of(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.get_token_balance_as_of(uuid, timestamptz) to authenticated, service_role;

create or replace function public.get_token_balance_as_of(
  p_user_id uuid default auth.uid(),
  p_at timestamptz default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_token_balance_as_of(p_user_id, p_at);
end
$$;
comment on function public.get_token_balance_as_of(uuid, timestamptz) is
  'What the user could spend at a moment that has passed, from the ledger up to then. For the user himself (leave p_user_id out), an admin, or the server. p_at is that moment. Returns {user_id, at, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they would have been spent, at most 100, has_more_grants}. Errors: not_authenticated, forbidden, invalid_moment, before_the_books (facts: opened_at).';
revoke all on function public.get_token_balance_as_of(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.get_token_balance_as_of(uuid, timestamptz) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * A user who never had a grant and has a plan is given its tokens first, once; a downgrade whose
 * time has come is put into effect.
 * A member of a team is told of his payer's account, which is what he can spend.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.   Keeps: I7.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create or replace function private.get_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_account_id := private.paying_account(p_user_id);

  if not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform private.initialise(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = v_account_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.take_up_next_plan(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[v_account_id], v_now);
      v_is_due := false;
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0),
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = v_account_id),
      'plan_type', (
        select coalesce(next.plan_type, s.plan_type)
          from public.user_subscriptions s
          left join public.token_plans next
            on next.plan_type = s.next_plan_type and next.price_cents = 0 and s.expires_at <= v_now
         where s.user_id = v_account_id),
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.repaid), 0)::bigint as repaid
         from private.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', chosen.tokens,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by chosen.nth) as grants
         from private.choose_grants(v_account_id, null, v_now, 101, p_count_due => v_is_due) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id) listed);
end
$$;
comment on function private.get_user_token_balance(uuid) is 'See public.get_user_token_balance.';
revoke all on function private.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_user_token_balance(uuid) to authenticated, service_role;

create or replace function public.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.get_user_token_balance(p_user_id);
end
$$;
comment on function public.get_user_token_balance(uuid) is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the mark the plan filled up to), plan_type, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/refund_payment.sql

/*
 * Books that money of a manual payment went back: that share of its tokens is taken back, or becomes
 * debt; all of it, and the plan goes back to the one before. p_refunded_cents is what has been
 * refunded in all (left out: everything), so a repetition changes nothing. What Stripe or PayPal
 * refunds comes by their webhooks.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_amount,
 * payment_not_found, payment_already_decided, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.refund_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_payment public.payments;
  v_refunded bigint;
  v_replayed boolean;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(null, p_reason, null);
  v_account := private.lock_account(p_user_id);
  if v_account.next_due_at <= clock_timestamp() then
    perform private.book_expiries(array[p_user_id], clock_timestamp());
  end if;
  perform private.take_up_next_plan(p_user_id);
  select p.* into v_payment from public.payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('approved', 'refunded') or v_payment.provider <> 'manual' then
    perform private.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;
  v_refunded := coalesce(p_refunded_cents, greatest(v_payment.amount_cents, 1));
  if v_refunded not between greatest(v_payment.refunded_cents, 1) and greatest(v_payment.amount_cents, 1) then
    perform private.refuse('invalid_amount',
      '{"field": "p_refunded_cents", "rule": "what has been refunded in all: no less than before, no more than was paid"}');
  end if;

  v_replayed := v_refunded = v_payment.refunded_cents;
  v_payment := private.settle_refunds(
    v_payment, v_refunded, false, p_reason, v_actor.actor_role, v_actor.actor_id);
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', v_payment.status,
    'refunded_cents', v_payment.refunded_cents,
    'tokens_clawed_back', v_payment.tokens_clawed_back,
    'tokens_owed', v_account.tokens_owed,
    'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = p_user_id),
    'tokens_remaining', v_account.tokens_remaining,
    'replayed', v_replayed);
end
$$;
comment on function private.refund_payment(uuid, uuid, text, bigint) is 'See public.refund_payment.';
revoke all on function private.refund_payment(uuid, uuid, text, bigint) from public, anon, authenticated, service_role;
grant execute on function private.refund_payment(uuid, uuid, text, bigint) to authenticated, service_role;

create or replace function public.refund_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.refund_payment(p_user_id, p_payment_id, p_reason, p_refunded_cents);
end
$$;
comment on function public.refund_payment(uuid, uuid, text, bigint) is
  'Books that money of a manual payment went back: that share of its tokens is taken back, what was spent of them becomes debt; in full, the plan goes back to the one before. For an admin or the server. p_refunded_cents is what has been refunded in all, left out: everything. Returns {success, payment_id, status, refunded_cents, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: payment_not_found, payment_already_decided, invalid_amount, invalid_reason, forbidden, busy.';
revoke all on function public.refund_payment(uuid, uuid, text, bigint) from public, anon, authenticated, service_role;
grant execute on function public.refund_payment(uuid, uuid, text, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/renew_subscription.sql

/*
 * Starts the next period of a user's subscription: a new grant, never a reset, made once per period.
 * After a downgrade it is the period of the lower plan. Left out, p_period_start is the end of the
 * present period. Nothing changes before that moment.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, subscription_not_found, not_due_yet,
 * balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.renew_subscription(
  p_user_id uuid,
  p_period_start timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_subscription public.user_subscriptions;
  v_plan public.token_plans;
  v_start timestamptz;
  v_started record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.lock_account(p_user_id);
  perform private.take_up_next_plan(p_user_id);
  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is null or not v_subscription.is_active then
    perform private.refuse('subscription_not_found', '{}');
  end if;
  v_start := coalesce(p_period_start, v_subscription.expires_at);
  if not exists (
    select from public.token_balances b
     where b.user_id = p_user_id and b.subscription_id = v_subscription.id and b.period_start = v_start)
    and (v_start >= v_subscription.expires_at and v_start <= clock_timestamp()) is not true
  then
    perform private.refuse('not_due_yet', jsonb_build_object('due_at', v_subscription.expires_at));
  end if;

  select p.* into v_plan from public.token_plans p
   where p.plan_type = coalesce(v_subscription.next_plan_type, v_subscription.plan_type);
  v_entry.user_id := p_user_id;
  v_entry.action_type := 'renewal_grant';
  v_entry.reason := v_plan.plan_type || ' renewal';
  v_entry.metadata := '{}';
  v_started := private.start_period(v_plan, v_start, v_subscription.payment_method, null, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'plan_type', v_subscription.plan_type,
    'period_start', v_start,
    'expires_at', v_subscription.expires_at,
    'tokens_granted', coalesce(v_transaction.tokens, 0),
    'tokens_limit', v_subscription.tokens_limit,
    'tokens_remaining', coalesce(v_transaction.balance_after, v_account.tokens_remaining),
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.renew_subscription(uuid, timestamptz) is 'See public.renew_subscription.';
revoke all on function private.renew_subscription(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.renew_subscription(uuid, timestamptz) to authenticated, service_role;

create or replace function public.renew_subscription(
  p_user_id uuid,
  p_period_start timestamptz default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.renew_subscription(p_user_id, p_period_start);
end
$$;
comment on function public.renew_subscription(uuid, timestamptz) is
  'Starts the next period of a subscription: a new grant, once per period; after a downgrade, of the lower plan. For an admin or the server. p_period_start left out: the end of the present period. Returns {success, plan_type, period_start, expires_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: subscription_not_found, not_due_yet, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.renew_subscription(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.renew_subscription(uuid, timestamptz) to authenticated, service_role;

-- from supabase/schemas/40_functions/upgrade_plan.sql

/*
 * Changes a user's plan, for the server. To a plan of a higher or equal rank at once, with its tokens
 * added in this commit; to a lower one at the end of the period, and no token is taken away.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text,
  p_payment_id text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_plan public.token_plans;
  v_subscription public.user_subscriptions;
  v_is_scheduled boolean;
  v_transaction public.token_transactions;
  v_started record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, null, null);
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  if v_plan.plan_type is null then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  v_entry.user_id := p_user_id;
  v_entry.reason := 'upgrade to ' || p_plan_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_entry.metadata := '{}';
  v_transaction := private.find_replay(v_entry);

  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  if v_transaction.id is null and v_subscription.is_active and v_subscription.expires_at > clock_timestamp()
    and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)
  then
    if v_account.next_due_at <= clock_timestamp() then
      perform private.book_expiries(array[p_user_id], clock_timestamp());
      v_account := private.lock_account(p_user_id);
    end if;
    v_is_scheduled := v_subscription.next_plan_type is not distinct from p_plan_type;
    update public.user_subscriptions s
       set next_plan_type = p_plan_type, updated_at = clock_timestamp()
     where s.user_id = p_user_id
    returning s.* into v_subscription;
    return jsonb_build_object(
      'success', true, 'plan_type', p_plan_type, 'effective', 'period_end',
      'effective_at', v_subscription.expires_at, 'tokens_granted', 0,
      'tokens_limit', v_subscription.tokens_limit, 'tokens_remaining', v_account.tokens_remaining,
      'transaction_id', null, 'replayed', v_is_scheduled);
  end if;

  v_started := private.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', 'now',
    'effective_at', v_transaction.created_at,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed
      -- the mark as it was then: what came in, less what it repaid at once
      then v_transaction.balance_after + coalesce((
        select t.tokens from public.token_transactions t
         where t.user_id = p_user_id and t.id = v_transaction.id + 1 and t.entry_type = 'debt_repayment'), 0)
      else v_subscription.tokens_limit
    end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.upgrade_plan(uuid, text, text, text, text) is 'See public.upgrade_plan.';
revoke all on function private.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

create or replace function public.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.upgrade_plan(p_user_id, p_plan_type, p_payment_method, p_payment_id, p_idempotency_key);
end
$$;
comment on function public.upgrade_plan(uuid, text, text, text, text) is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away. p_payment_method (card, paypal, …) and p_payment_id are kept with the subscription. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/void_grant.sql

/*
 * Ends a grant now: what is left of it is taken away, and what comes back to it later expires at
 * once. With p_take_back, for a grant made by mistake, what was spent of it is taken from the other
 * grants too, and what is not there becomes debt, repaid first by what comes in next.
 * Tokens of it that a hold has set aside stay with the hold.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, grant_id, tokens_voided, tokens_owed, transaction_id, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.void_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text,
  p_take_back boolean,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_voided public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_grant public.token_balances;
  v_tokens bigint;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'voided');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'void_grant', 'grant_id', p_grant_id, 'reason', p_reason, 'take_back', coalesce(p_take_back, false)));
  v_entry.metadata := '{}';
  v_voided := private.find_replay(v_entry);
  if v_voided.id is null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
    select b.* into v_grant from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.id is null then
      perform private.refuse('grant_not_found', '{}');
    end if;
    if v_grant.voided_at is not null then
      perform private.refuse('grant_already_voided', '{}');
    end if;
    select g.id into v_entry.original_id
      from public.token_transactions g
     where g.user_id = p_user_id and g.grant_ids @> array[p_grant_id]
     order by g.id
     limit 1;

    -- record
    if coalesce(p_take_back, false) then
      -- what he has had of it: left, spent, or held; what ran out, was taken back before, or was carried
      -- over into another he has not. What made the grant is none of these
      select v_grant.tokens_granted - coalesce(sum(case when t.tokens > 0 then -a.tokens else a.tokens end), 0)::bigint
        into v_tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
       where t.user_id = p_user_id and a.grant_id = p_grant_id
         and t.entry_type in ('expiry', 'clawback', 'restoration', 'restatement', 'rollover')
         and t.id is distinct from v_entry.original_id;
      v_voided := private.claw_back(v_entry, p_grant_id, v_tokens);
    else
      v_entry.entry_type := 'void';
      v_entry.action_type := 'void';
      v_entry.tokens := -v_grant.tokens_remaining;
      v_entry.grant_ids := case when v_grant.is_open then array[p_grant_id] else '{}' end;
      v_entry.grant_tokens := case when v_grant.is_open then array[v_grant.tokens_remaining] else '{}' end;
      v_entry.created_at := v_now;
      update public.token_balances b
         set tokens_remaining = 0, is_open = false
       where b.user_id = p_user_id and b.id = p_grant_id;
      v_voided := private.book(v_entry);
    end if;
    update public.token_balances b
       set voided_at = v_voided.created_at,
           expires_at = least(b.expires_at, greatest(v_voided.created_at, b.granted_at + interval '1 microsecond'))
     where b.user_id = p_user_id and b.id = p_grant_id;
  end if;

  return jsonb_build_object(
    'success', true,
    'grant_id', p_grant_id,
    'tokens_voided', -v_voided.tokens,
    'tokens_owed', v_voided.debt_change,
    'transaction_id', v_voided.id,
    'tokens_remaining', v_voided.balance_after,
    'replayed', v_replayed);
end
$$;
comment on function private.void_grant(uuid, uuid, text, boolean, text) is 'See public.void_grant.';
revoke all on function private.void_grant(uuid, uuid, text, boolean, text) from public, anon, authenticated, service_role;
grant execute on function private.void_grant(uuid, uuid, text, boolean, text) to authenticated, service_role;

create or replace function public.void_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text default null,
  p_take_back boolean default false,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.void_grant(p_user_id, p_grant_id, p_reason, p_take_back, p_idempotency_key);
end
$$;
comment on function public.void_grant(uuid, uuid, text, boolean, text) is
  'Ends a grant now: what is left of it is taken away. With p_take_back, for a grant made by mistake, what was spent of it is taken back too: from the other grants, and what is not there becomes debt. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_voided, tokens_owed (added to the debt), transaction_id, tokens_remaining, replayed}. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, forbidden, busy.';
revoke all on function public.void_grant(uuid, uuid, text, boolean, text) from public, anon, authenticated, service_role;
grant execute on function public.void_grant(uuid, uuid, text, boolean, text) to authenticated, service_role;
