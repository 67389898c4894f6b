/*
 * Many deductions in one call, for metering workers: deduct_tokens_batch. The answer of a single
 * deduction is now made where that of a batch is. No table changes.
 */

-- from supabase/schemas/30_guards/lock_accounts.sql

/*
 * Locks the accounts of many users at once, in the order of their ids, and returns those that there
 * are. Whoever needs several accounts takes them so, all in one go and before anything else: two
 * that want the same ones then meet at the lowest and never wait for each other in a circle. Waits
 * at most five seconds for each, then says busy.
 * Read the clock after this, not before.
 * Caller: internal.   Locks: the token_accounts rows.   Errors: busy.
 */
create or replace function private.lock_accounts(p_user_ids uuid[])
returns setof public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '5s'
as $$
begin
  return query
  select a.*
    from public.token_accounts a
   where a.user_id = any (p_user_ids)
   order by a.user_id
     for no key update;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_accounts(uuid[]) is
  'Locks the account rows of these users in the order of their ids (at most five seconds each, then busy) and returns those that there are.';
revoke all on function private.lock_accounts(uuid[]) from public, anon, authenticated, service_role;

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
      ('invalid_batch', 'PT400', 'Send an array of 1 to 1000 items, at most 1 MiB in all.'),
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
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('not_applied', 'PT424', 'Another item of the batch failed, and it was to be all or nothing. Send the batch again without it.'),
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

-- from supabase/schemas/40_books/batch_entry.sql

/*
 * One item of a batch as the transaction to be; the same entry, and the same refusals, as of a
 * single deduction. A field that is not known is refused: a misspelt idempotency_key would
 * otherwise be a deduction that a retry makes twice. NULL is as good as left out.
 * Caller: internal.   Errors: invalid_batch, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata.
 */
create or replace function private.batch_entry(p_item jsonb)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_tokens numeric;
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform private.refuse('invalid_batch', '{"field": "p_items", "rule": "each item an object"}');
  elsif p_item - array['user_id', 'tokens', 'action_type', 'idempotency_key', 'metadata'] <> '{}' then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "user_id, tokens, action_type, idempotency_key, metadata and nothing else"}');
  elsif jsonb_typeof(p_item -> 'action_type') not in ('string', 'null') then
    perform private.check_action_type(null);
  elsif jsonb_typeof(p_item -> 'idempotency_key') not in ('string', 'null') then
    perform private.check_request('', null, null);
  elsif (p_item ->> 'user_id' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') is not true then
    perform private.refuse('invalid_user_id', '{"field": "user_id", "rule": "a uuid"}');
  end if;
  if jsonb_typeof(p_item -> 'tokens') = 'number' then
    v_tokens := p_item ->> 'tokens';
    if v_tokens <> trunc(v_tokens) or v_tokens > 1000000000000 then
      v_tokens := null; -- bigint would round the one and not hold the other
    end if;
  end if;
  v_entry.user_id := p_item ->> 'user_id';
  v_entry.tokens := -v_tokens;
  v_entry.action_type := coalesce(p_item ->> 'action_type', 'deduction');
  v_entry.reason := v_entry.action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_item ->> 'idempotency_key';
  v_entry.metadata := coalesce(nullif(p_item -> 'metadata', 'null'), '{}');
  perform private.check_tokens('tokens', -v_entry.tokens);
  perform private.check_action_type(v_entry.action_type);
  perform private.check_request(v_entry.idempotency_key, null, v_entry.metadata);
  v_entry.request := jsonb_build_object(
    'operation', 'deduct', 'tokens', -v_entry.tokens, 'action_type', v_entry.action_type);
  return v_entry;
end
$$;
comment on function private.batch_entry(jsonb) is
  'One item of a batch, {user_id, tokens, action_type, idempotency_key, metadata}, as the transaction to be; refuses what a single deduction would.';
revoke all on function private.batch_entry(jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/deduction_receipt.sql

/*
 * The answer to a deduction of p_tokens: its transaction (new or replayed) and which grants paid, or a
 * shortfall and no transaction. The same for one deduction and for one of a batch.
 * Caller: internal.
 */
create or replace function private.deduction_receipt(
  p_tokens bigint,
  p_transaction_id bigint,
  p_deducted_from jsonb,
  p_shortfall bigint,
  p_tokens_remaining bigint,
  p_replayed boolean
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'success', p_shortfall = 0,
    'tokens_deducted', case when p_shortfall = 0 then p_tokens else 0 end,
    'tokens_remaining_to_deduct', p_shortfall,
    'deducted_from', p_deducted_from,
    'transaction_id', p_transaction_id,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed);
end
$$;
comment on function private.deduction_receipt(bigint, bigint, jsonb, bigint, bigint, boolean) is
  'The answer to a deduction: {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed}.';
revoke all on function private.deduction_receipt(bigint, bigint, jsonb, bigint, bigint, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/item_error.sql

/*
 * A refusal as the answer to one item of a batch: what would have been raised, had it come alone.
 * Fields have the names that they have in the item.
 * Caller: internal.
 */
create or replace function private.item_error(p_slug text, p_facts text, p_hint text)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select jsonb_build_object(
    'success', false,
    'error', jsonb_build_object('code', p_slug, 'hint', p_hint)
      || replace(coalesce(nullif(p_facts, ''), '{}'), '"field": "p_', '"field": "')::jsonb)
$$;
comment on function private.item_error(text, text, text) is
  'A refusal as the answer to one item of a batch: {success: false, error: {code, hint, …facts}}.';
revoke all on function private.item_error(text, text, text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend_many.sql

/*
 * The usual deduction, for many accounts in one statement: nothing is due, there is enough, and the
 * key is new. What is not so is left alone, and goes through private.spend; both come to the same
 * grants, totals and ledger rows.
 * p_entries are transactions to be, as of private.spend, no two of one account; their id is the
 * caller's own number, handed back. The caller has locked the accounts and read the clock.
 * Caller: internal.   Returns of each deduction that was made what its receipt says, deducted_from as
 * private.allocations gives it.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_many(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, transaction_id bigint, tokens_remaining bigint, deducted_from jsonb)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  -- Each step hands on all that the next one needs: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  return query
  with payable as (
    select e.id as nth, e.user_id, e.tokens, e.action_type, e.reason, e.actor_role, e.idempotency_key, e.request,
           e.metadata, chosen.grant_ids, chosen.grant_tokens, paid.deducted_from
      from unnest(p_entries) as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral private.choose_grants(e.user_id, -e.tokens, p_now) as chosen
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'grant_id', b.id, 'grant_type', b.grant_type, 'granted_at', b.granted_at, 'deducted', part.tokens)
                order by part.nth) as deducted_from
         from unnest(chosen.grant_ids, chosen.grant_tokens) with ordinality as part (grant_id, tokens, nth)
         join public.token_balances b on b.user_id = e.user_id and b.id = part.grant_id) paid
     where a.tokens_remaining >= -e.tokens
       and (a.next_due_at > p_now or a.next_due_at is null)
       and not exists (
         select from public.token_transactions t
          where t.user_id = e.user_id and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - part.tokens,
           is_open = b.tokens_remaining > part.tokens
      from payable p
     cross join lateral unnest(p.grant_ids, p.grant_tokens) as part (grant_id, tokens)
     where b.user_id = p.user_id and b.id = part.grant_id
  ), accounts as (
    -- as private.book does it, for a deduction
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + p.tokens,
           tokens_used = a.tokens_used - p.tokens,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_now
      from payable p
     where a.user_id = p.user_id
    returning p.*, a.last_transaction_id, a.tokens_remaining as balance
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, idempotency_key, request, metadata, created_at)
    select a.user_id, a.last_transaction_id, 'deduction', a.action_type, a.tokens, a.balance,
           a.grant_ids, a.grant_tokens, a.reason, a.actor_role, a.idempotency_key,
           case when a.idempotency_key is not null then a.request end, a.metadata, p_now
      from accounts a
  )
  select a.nth, a.last_transaction_id, a.balance, a.deducted_from from accounts a;
end
$$;
comment on function private.spend_many(public.token_transactions[], timestamptz) is
  'Makes the deductions that need nothing but tokens, one an account, in one statement, and returns what their receipts say; leaves the others alone. The accounts are locked.';
revoke all on function private.spend_many(public.token_transactions[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/deduct_tokens_batch.sql

/*
 * Many deductions in one call, for metering workers: many users, each item with its own key and its
 * own answer. Items of one user are applied in the order given; a key that comes twice is a replay
 * the second time. An item that is refused or finds too few tokens does not touch the others; with
 * p_all_or_nothing it undoes all of them, and the answer says which it was.
 *
 * The accounts are locked in one order before anything is done, so batches that overlap never wait
 * for each other in a circle. The usual items go through private.spend_many, the rest one by one
 * through private.spend: the same receipts either way.
 * Caller: service_role.   Locks: the accounts, in the order of their ids.
 * Returns {success, deducted, replayed, short, failed, results: [{index, …receipt} or {index,
 * success, error: {code, hint, …facts}}]}, one result an item, in the order of the items.
 * Errors: invalid_batch, busy; in the results those of a single deduction, and not_applied.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: the server may not write the tables itself.
create or replace function private.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entries public.token_transactions[] := '{}';
  v_user_ids uuid[] := '{}'; -- of the entries; NULL where the item was refused
  v_results jsonb[] := '{}';
  v_locked uuid[];
  v_entry public.token_transactions;
  v_made record;
  v_spent record;
  v_user_id uuid;
  v_counts record;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  -- validate
  if jsonb_typeof(p_items) is distinct from 'array' or octet_length(p_items::text) > 1048576 then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "an array of 1 to 1000 items, at most 1048576 bytes"}');
  elsif jsonb_array_length(p_items) not between 1 and 1000 then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "an array of 1 to 1000 items, at most 1048576 bytes"}');
  end if;
  for i in 1..jsonb_array_length(p_items)
  loop
    v_results[i] := null;
    begin
      v_entry := private.batch_entry(p_items -> (i - 1));
      v_entry.id := i;
      v_entries[i] := v_entry;
      v_user_ids[i] := v_entry.user_id;
    exception
      when sqlstate 'PT400' then
        get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
        v_results[i] := private.item_error(v_slug, v_facts, v_hint);
        v_entries[i] := null;
        v_user_ids[i] := null;
    end;
  end loop;

  begin -- what all-or-nothing undoes

    -- lock: who has no account yet is given his plan, if he has one; then all accounts, in order
    for v_user_id in
      select distinct u.user_id from unnest(v_user_ids) as u (user_id)
       where u.user_id is not null
         and not exists (select from public.token_accounts a where a.user_id = u.user_id)
       order by u.user_id
    loop
      perform private.initialise(v_user_id);
    end loop;
    v_locked := array(select a.user_id from private.lock_accounts(v_user_ids) as a);

    -- replay, act, record: what is alone on its account and needs nothing but tokens
    for v_made in
      select m.*
        from private.spend_many(
               array(
                 select alone.entry
                   from (select e as entry, count(*) over (partition by e.user_id) as items from unnest(v_entries) as e) alone
                  where alone.items = 1 and (alone.entry).user_id is not null),
               clock_timestamp()) as m
    loop
      v_results[v_made.nth] := private.deduction_receipt(
        -(v_entries[v_made.nth]).tokens, v_made.transaction_id, v_made.deducted_from, 0, v_made.tokens_remaining, false);
    end loop;

    -- and the rest
    for i in 1..cardinality(v_entries)
    loop
      continue when v_results[i] is not null;
      begin
        if v_user_ids[i] = any (v_locked) then
          v_spent := private.spend(v_entries[i]);
          v_results[i] := private.deduction_receipt(
            -(v_entries[i]).tokens, (v_spent.transaction).id, private.allocations(v_spent.transaction),
            v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed);
        else
          -- an account made meanwhile would be locked out of order: to this batch there is none
          perform private.require_user(v_user_ids[i], 'service');
          v_results[i] := private.deduction_receipt(
            -(v_entries[i]).tokens, null, '[]', -(v_entries[i]).tokens, 0, false);
        end if;
      exception
        when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
          get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
          v_results[i] := private.item_error(v_slug, v_facts, v_hint);
      end;
    end loop;

    if p_all_or_nothing and exists (select from unnest(v_results) as r (result) where r.result -> 'success' = 'false') then
      perform private.refuse('not_applied');
    end if;
  exception
    when sqlstate 'PT424' then
      get stacked diagnostics v_slug = message_text, v_hint = pg_exception_hint;
      v_results := array(
        select case when r.result -> 'success' = 'false' then r.result else private.item_error(v_slug, null, v_hint) end
          from unnest(v_results) with ordinality as r (result, nth)
         order by r.nth);
  end;

  select count(*) filter (where r.result -> 'success' = 'true' and r.result -> 'replayed' = 'false') as deducted,
         count(*) filter (where r.result -> 'replayed' = 'true') as replayed,
         count(*) filter (where r.result -> 'success' = 'false' and not r.result ? 'error') as short,
         count(*) filter (where r.result ? 'error') as failed,
         jsonb_agg(jsonb_build_object('index', r.nth - 1) || r.result order by r.nth) as results
    into v_counts
    from unnest(v_results) with ordinality as r (result, nth);
  return jsonb_build_object(
    'success', v_counts.short = 0 and v_counts.failed = 0,
    'deducted', v_counts.deducted,
    'replayed', v_counts.replayed,
    'short', v_counts.short,
    'failed', v_counts.failed,
    'results', v_counts.results);
end
$$;
comment on function private.deduct_tokens_batch(jsonb, boolean) is 'See public.deduct_tokens_batch.';
revoke all on function private.deduct_tokens_batch(jsonb, boolean) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_batch(jsonb, boolean) to service_role;

create or replace function public.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean default false)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_batch(p_items, p_all_or_nothing);
end
$$;
comment on function public.deduct_tokens_batch(jsonb, boolean) is
  'Many deductions in one call, for the server. p_items 1 to 1000 of {user_id, tokens, action_type, idempotency_key, metadata} (only the first two required), at most 1 MiB; items of one user are applied in the order given. Each item is answered by itself and does not touch the others; with p_all_or_nothing any item that is refused or short undoes all. Returns {success (every item), deducted, replayed, short, failed (counts), results: [{index, success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed} as deduct_tokens_with_fifo answers, or {index, success, error: {code, hint, …facts}}] in the order of the items}. Errors: invalid_batch, busy; of an item those of deduct_tokens_with_fifo, user_not_found, not_applied.';
revoke all on function public.deduct_tokens_batch(jsonb, boolean) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_batch(jsonb, boolean) to service_role;

-- from supabase/schemas/40_functions/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed, no error.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_spent record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct);
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'deduct', 'tokens', p_tokens_to_deduct, 'action_type', p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);

  return private.deduction_receipt(
    p_tokens_to_deduct, (v_spent.transaction).id, private.allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed);
end
$$;
comment on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is 'See public.deduct_tokens_with_fifo.';
revoke all on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_with_fifo(
    p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/70_privileges.sql

/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and views (public)       -      select (own rows)    select
 *   token_plans                     select select               select
 *   ai_model_prices,                -      select               select
 *   ai_action_costs
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history               -      execute (himself)    execute
 *   get_user_storage_quota          -      execute (himself)    execute
 *   create_payment                  -      execute (himself)    execute
 *   track_token_usage,              -      execute (himself)    execute
 *   estimate_tokens,
 *   explain_token_charge
 *   reserve_, capture_,             -      execute (himself)    execute
 *   release_tokens
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   refund_tokens, void_grant       -      execute (admins)     execute
 *   approve_, reject_, refund_pay.  -      execute (admins)     execute
 *   upgrade_plan, renew_subscr.     -      execute (admins)     execute
 *   parked payments, reports,       -      execute (admins)     execute
 *   verify_token_ledger,
 *   reconcile_, find_discrepancies
 *   expire_old_token_grants         -      -                    execute
 *   record_provider_event           -      -                    execute
 *   set_burn_order                  -      -                    execute
 *   deduct_tokens_batch             -      -                    execute
 *   all other functions (private)   -      -                    -
 *
 * "Himself" and "admins" are checked in private.authorize; an admin may do for anyone what a user
 * may do for himself. No role writes a table except through the functions. user_profiles belongs
 * to the app and is not in it.
 */
revoke all on schema private from public, anon, authenticated, service_role;
grant usage on schema private to authenticated, service_role;

revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;

revoke all on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
from public, anon, authenticated, service_role;

grant select on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
to authenticated, service_role;
grant select on table public.token_plans to anon;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  private.track_token_usage(public.token_usage, text, text),
  private.estimate_tokens(public.token_usage),
  private.explain_token_charge(uuid, uuid, bigint),
  private.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  private.capture_tokens(public.token_usage, uuid, bigint, text),
  private.release_tokens(uuid, uuid),
  private.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  private.void_grant(uuid, uuid, text, boolean, text),
  private.get_user_token_balance(uuid),
  private.get_token_history(uuid, integer, bigint),
  private.get_user_storage_quota(uuid),
  private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  private.adjust_tokens(uuid, bigint, text, text, jsonb),
  private.create_payment(uuid, text, text),
  private.approve_payment(uuid, uuid, text),
  private.reject_payment(uuid, uuid, text),
  private.refund_payment(uuid, uuid, text, bigint),
  private.upgrade_plan(uuid, text, text, text, text),
  private.renew_subscription(uuid, timestamptz),
  private.assign_parked_payment(text, text, uuid, text),
  private.list_parked_payments(),
  private.check_token_synchronization(),
  private.verify_token_ledger(uuid, uuid, uuid),
  private.reconcile_user_token_balance(uuid),
  private.find_token_discrepancies(bigint, uuid, uuid),
  private.get_users_without_balance(),
  private.get_recent_token_usage(integer, integer),
  private.get_users_with_low_balance(bigint, integer),
  private.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  private.deduct_tokens_batch(jsonb, boolean),
  private.set_burn_order(text),
  private.expire_old_token_grants(integer),
  private.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.deduct_tokens_batch(jsonb, boolean),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.set_burn_order(text),
  public.expire_old_token_grants(integer),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer),
  public.record_provider_event(text, text, text, text, jsonb)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  public.deduct_tokens_batch(jsonb, boolean),
  public.set_burn_order(text),
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;
