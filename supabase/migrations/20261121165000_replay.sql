/*
 * Replay: what an exact spreading of all past use over all past grants would have left of each, what
 * the simple hotfix has over-granted booked as restatements that can be reversed, and the balance as
 * it was at any moment since the books opened. Changes no row.
 */

-- from supabase/schemas/30_guards/refuse.sql

/*
 * Refuses: raises a registered error. The one place where a slug meets its SQLSTATE and hint.
 * The slug is the message (a constant: PostgREST makes it the HTTP reason phrase), the facts are
 * one JSON object in the detail, the advice is the hint. The same registry: docs/errors.md.
 * Caller: internal.   Errors: all of them.
 */
create or replace function private.refuse(p_slug text, p_facts jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_sqlstate text;
  v_hint text;
begin
  select r.sqlstate, r.hint into v_sqlstate, v_hint
    from (values
      ('invalid_amount', 'PT400', 'Give a whole number of tokens within the stated limits.'),
      ('invalid_idempotency_key', 'PT400', 'Use 1 to 255 characters of A-Z a-z 0-9 . _ : -'),
      ('invalid_expiry', 'PT400', 'Give a moment in the future, ''infinity'' for never, or leave it out.'),
      ('invalid_reason', 'PT400', 'Use 1 to 500 characters that are not all blank.'),
      ('invalid_metadata', 'PT400', 'Give a JSON object of at most 8192 bytes.'),
      ('invalid_grant_type', 'PT400', 'Use annual, 28day, trial, purchase, admin or plan.'),
      ('invalid_action_type', 'PT400', 'Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names of grants are reserved.'),
      ('invalid_priority', 'PT400', 'Use 0 (spent first) to 100 (spent last).'),
      ('invalid_granted_at', 'PT400', 'Give a moment that is not in the future, or leave it out.'),
      ('invalid_user_id', 'PT400', 'Say which user.'),
      ('invalid_usage', 'PT400', 'Say what was used: whole numbers from 0, parts no larger than the whole.'),
      ('invalid_ttl', 'PT400', 'Hold for 1 to 86400 seconds.'),
      ('invalid_refund', 'PT400', 'Use forfeit, or reissue with a lifetime in days.'),
      ('invalid_burn_order', 'PT400', 'Use fifo or expiring_first.'),
      ('invalid_moment', 'PT400', 'Give a moment that has passed.'),
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment of that user.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
      ('charge_not_found', 'PT404', 'There is no such usage or transaction of that user.'),
      ('hold_not_found', 'PT404', 'There is no such hold of that user.'),
      ('grant_not_found', 'PT404', 'There is no such grant of that user.'),
      ('grant_already_voided', 'PT409', 'The grant has been ended before. Nothing was changed.'),
      ('capture_exceeds_hold', 'PT409', 'Capture no more than was held, or choose deduct or cap.'),
      ('not_refundable', 'PT409', 'Only deductions can be refunded.'),
      ('refund_exceeds_charge', 'PT409', 'No more can be refunded than is left of the charge.'),
      ('before_the_books', 'PT404', 'The books of that user were not open yet.'),
      ('restatement_not_found', 'PT404', 'There is no such restatement of that user.'),
      ('restatement_already_reversed', 'PT409', 'The restatement has been reversed before. Nothing was changed.'),
      ('restatement_spent', 'PT409', 'What it gave has been spent or has run out. Nothing was changed.'),
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('balance_limit_exceeded', 'PT409', 'The account cannot hold that many tokens.'),
      ('idempotency_key_reused', 'PT422', 'That key was used for another request. Use a new key for a new request.'),
      ('busy', 'PT503', 'The account is locked by other work. Try again with the same key.')
    ) as r (slug, sqlstate, hint)
   where r.slug = p_slug;

  if p_facts is null then
    raise exception using errcode = v_sqlstate, message = p_slug, hint = v_hint;
  end if;
  raise exception using errcode = v_sqlstate, message = p_slug, detail = p_facts::text, hint = v_hint;
end
$$;
comment on function private.refuse(text, jsonb) is
  'Raises the registered error of that slug: SQLSTATE and hint from the registry, facts as JSON in the detail. See docs/errors.md.';
revoke all on function private.refuse(text, jsonb) from public, anon, authenticated, service_role;

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
 * order. A restatement changes what is stored, never what is exact: so nothing is left to restate
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
           case when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_ids end,
           case when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_tokens end,
           null, null, null, null, null, null, null, null
      from ledger t
      left join refunded r on r.user_id = t.user_id and r.original_id = t.id
     where t.entry_type not in ('restatement', 'expiry', 'void', 'usage')
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
             coalesce(-sum(t.tokens) filter (where t.entry_type = 'expiry'), 0)::bigint as expired
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

-- from supabase/schemas/40_functions/replay_token_balances.sql

/*
 * What each grant would have now if all deductions had been spread over the grants exactly (oldest
 * first, each by its own expiry at that moment), beside what it has: what the simple hotfix of 2025
 * left behind, and whether the right grants have paid since. For one user, for everyone, or for the
 * users after p_after up to p_until, so that a large database is gone through in pieces.
 * One snapshot; changes nothing. How it is done: private.replay.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.replay_token_balances(
  p_user_id uuid,
  p_after uuid,
  p_until uuid
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query select * from private.replay(p_user_id, p_after, p_until, clock_timestamp());
end
$$;
comment on function private.replay_token_balances(uuid, uuid, uuid) is 'See public.replay_token_balances.';
revoke all on function private.replay_token_balances(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.replay_token_balances(uuid, uuid, uuid) to authenticated, service_role;

create or replace function public.replay_token_balances(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.replay_token_balances(p_user_id, p_after, p_until);
end
$$;
comment on function public.replay_token_balances(uuid, uuid, uuid) is
  'Replays past grants and past use exactly: a row for each grant with exact (what it would have now), stored (what it has) and difference (stored - exact: over-granted tokens). What has run out counts on neither side. A user whose deductions found no grant to pay them has one row more, without a grant, that says how many tokens (uncovered). For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. Changes nothing. Returns user_id, grant_id, grant_type, granted_at, expires_at, tokens_granted, exact, stored, difference, uncovered. Errors: not_authenticated, forbidden.';
revoke all on function public.replay_token_balances(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.replay_token_balances(uuid, uuid, uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/restate_token_balances.sql

/*
 * Brings a user's grants to what an exact replay of his history says: at most two `restatement`
 * entries, one for what is taken and one for what is given, each of which reverse_restatement can
 * undo. Nothing to restate is a success with 0.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}],
 * transaction_ids, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.restate_token_balances(
  p_user_id uuid,
  p_reason text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_taken public.token_transactions;
  v_given public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay of the key; who took and gave kept the key with what was taken
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'restate', 'reason', p_reason);
  v_entry.metadata := '{}';
  v_taken := private.find_replay(v_entry);
  if v_taken.tokens > 0 then
    v_given := v_taken;
    v_taken := null;
  elsif v_taken.id is not null then
    select t.* into v_given from public.token_transactions t
     where t.user_id = p_user_id and t.id = v_taken.id + 1
       and t.metadata = jsonb_build_object('beside', v_taken.id);
  elsif v_account.user_id is not null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.created_at := v_now;
    select array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           array_agg(r.difference order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           -sum(r.difference) filter (where r.difference > 0),
           array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           array_agg(-r.difference order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           -sum(r.difference) filter (where r.difference < 0)
      into v_taken.grant_ids, v_taken.grant_tokens, v_taken.tokens,
           v_given.grant_ids, v_given.grant_tokens, v_given.tokens
      from private.replay(p_user_id, null, null, v_now) as r
     where r.difference <> 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + restated.tokens,
           is_open = b.tokens_remaining + restated.tokens > 0
      from (
        select t.id, -t.tokens as tokens from unnest(v_taken.grant_ids, v_taken.grant_tokens) as t (id, tokens)
        union all
        select g.id, g.tokens from unnest(v_given.grant_ids, v_given.grant_tokens) as g (id, tokens)) restated
     where b.user_id = p_user_id and b.id = restated.id;
    update public.token_accounts a
       set next_due_at = due.at
      from (
        select min(b.expires_at) as at from public.token_balances b
         where b.user_id = p_user_id and b.id = any (v_given.grant_ids)) due
     where a.user_id = p_user_id and due.at < coalesce(a.next_due_at, 'infinity');

    -- record: first what is taken, or the total could pass its limit
    if v_taken.tokens <> 0 then
      v_entry.grant_ids := v_taken.grant_ids;
      v_entry.grant_tokens := v_taken.grant_tokens;
      v_entry.tokens := v_taken.tokens;
      v_taken := private.book(v_entry);
      v_entry.idempotency_key := null;
      v_entry.metadata := jsonb_build_object('beside', v_taken.id);
    end if;
    if v_given.tokens <> 0 then
      v_entry.grant_ids := v_given.grant_ids;
      v_entry.grant_tokens := v_given.grant_tokens;
      v_entry.tokens := v_given.tokens;
      v_given := private.book(v_entry);
      perform private.settle_incoming(p_user_id, v_now);
    end if;
  else
    v_replayed := false;
  end if;

  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'tokens_taken', coalesce(-v_taken.tokens, 0),
    'tokens_given', coalesce(v_given.tokens, 0),
    'restated', coalesce((
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', part.tokens) order by part.nth)
        from (
          select t.grant_id, -t.tokens as tokens, t.nth
            from unnest(v_taken.grant_ids, v_taken.grant_tokens) with ordinality as t (grant_id, tokens, nth)
          union all
          select g.grant_id, g.tokens, g.nth + 1000000
            from unnest(v_given.grant_ids, v_given.grant_tokens) with ordinality as g (grant_id, tokens, nth)) part), '[]'),
    'transaction_ids', to_jsonb(array_remove(array[v_taken.id, v_given.id], null)),
    'tokens_remaining', coalesce(v_account.tokens_remaining, 0),
    'replayed', v_replayed);
end
$$;
comment on function private.restate_token_balances(uuid, text, text) is 'See public.restate_token_balances.';
revoke all on function private.restate_token_balances(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.restate_token_balances(uuid, text, text) to authenticated, service_role;

create or replace function public.restate_token_balances(
  p_user_id uuid,
  p_reason text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.restate_token_balances(p_user_id, p_reason, p_idempotency_key);
end
$$;
comment on function public.restate_token_balances(uuid, text, text) is
  'Brings a user''s grants to what replay_token_balances says they would have, with at most two restatement entries: what is taken, and what is given. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}], transaction_ids, tokens_remaining, replayed}; nothing to restate: 0 and 0. reverse_restatement undoes each. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.restate_token_balances(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.restate_token_balances(uuid, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/reverse_restatement.sql

/*
 * Undoes a restatement, whole and once: the same tokens, the other way. What was taken goes back to
 * its grants (into one that has run out meanwhile it expires at once, in the ledger; what is owed is
 * repaid first). What was given is taken back, and only if all of it is still there.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens
 * (signed)}], tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, restatement_not_found, restatement_already_reversed,
 * restatement_spent, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.reverse_restatement(
  p_user_id uuid,
  p_transaction_id bigint,
  p_reason text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_original public.token_transactions;
  v_reversal public.token_transactions;
  v_replayed boolean := true;
  v_there bigint;
  v_remaining bigint;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'reverse_restatement', 'transaction_id', p_transaction_id, 'reason', p_reason);
  v_entry.metadata := '{}';
  v_reversal := private.find_replay(v_entry);
  if v_reversal.id is null then
    v_replayed := false;

    -- act
    select t.* into v_original from public.token_transactions t
     where t.user_id = p_user_id and t.id = p_transaction_id
       and t.entry_type = 'restatement' and t.original_id is null;
    if v_original.id is null then
      perform private.refuse('restatement_not_found', '{}');
    end if;
    select t.* into v_reversal from public.token_transactions t
     where t.user_id = p_user_id and t.original_id = p_transaction_id;
    if v_reversal.id is not null then
      perform private.refuse('restatement_already_reversed', jsonb_build_object('transaction_id', v_reversal.id));
    end if;
    if v_account.next_due_at <= v_now then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
    if v_original.tokens < 0 then
      select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
        from private.give_back(p_user_id, v_original.grant_ids, v_original.grant_tokens, v_now) as back;
    else
      select sum(least(b.tokens_remaining, given.tokens)) into v_there
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
        join public.token_balances b on b.user_id = p_user_id and b.id = given.grant_id;
      if v_there < v_original.tokens then
        perform private.refuse('restatement_spent',
          jsonb_build_object('required', v_original.tokens, 'available', v_there));
      end if;
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining - given.tokens, is_open = b.tokens_remaining > given.tokens
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
       where b.user_id = p_user_id and b.id = given.grant_id;
      v_entry.grant_ids := v_original.grant_ids;
      v_entry.grant_tokens := v_original.grant_tokens;
    end if;

    -- record
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.tokens := -v_original.tokens;
    v_entry.original_id := v_original.id;
    v_entry.created_at := v_now;
    v_reversal := private.book(v_entry);
    if v_reversal.tokens > 0 then
      perform private.settle_incoming(p_user_id, v_now);
    end if;
  end if;

  select a.tokens_remaining into v_remaining from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'transaction_id', v_reversal.id,
    'original_id', v_reversal.original_id,
    'tokens', v_reversal.tokens,
    'restated', (
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', sign(v_reversal.tokens)::integer * part.tokens)
                       order by part.nth)
        from unnest(v_reversal.grant_ids, v_reversal.grant_tokens) with ordinality as part (grant_id, tokens, nth)),
    'tokens_remaining', v_remaining,
    'replayed', v_replayed);
end
$$;
comment on function private.reverse_restatement(uuid, bigint, text, text) is 'See public.reverse_restatement.';
revoke all on function private.reverse_restatement(uuid, bigint, text, text) from public, anon, authenticated, service_role;
grant execute on function private.reverse_restatement(uuid, bigint, text, text) to authenticated, service_role;

create or replace function public.reverse_restatement(
  p_user_id uuid,
  p_transaction_id bigint,
  p_reason text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.reverse_restatement(p_user_id, p_transaction_id, p_reason, p_idempotency_key);
end
$$;
comment on function public.reverse_restatement(uuid, bigint, text, text) is
  'Undoes a restatement, whole and once. What it took goes back to its grants (into one that has run out it expires at once); what it gave is taken back if all of it is still there. For an admin or the server. p_transaction_id one of restate_token_balances'' transaction_ids; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens (signed)}], tokens_remaining, replayed}. Errors: restatement_not_found, restatement_already_reversed, restatement_spent, invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.reverse_restatement(uuid, bigint, text, text) from public, anon, authenticated, service_role;
grant execute on function public.reverse_restatement(uuid, bigint, text, text) to authenticated, service_role;
