/*
 * Many deductions in one call, for metering workers: many users, each item with its own key and its
 * own answer. Items of one user are applied in the order given; a key that comes twice is a replay
 * the second time. An item that is refused or finds too few tokens does not touch the others; with
 * p_all_or_nothing it undoes all of them, and the answer says which it was.
 *
 * The accounts are locked in one order before anything is done, so batches that overlap cannot deadlock. Items on the
 * fast path go through tokenbook.spend_tokens_batch, the rest one by one through tokenbook.spend_tokens: the same
 * receipts either way.
 * A member of a team spends from their payer's account, as everywhere.
 * Caller: service_role.   Locks: the accounts, in the order of their ids.
 * Returns {success, deducted, replayed, short, failed, results: [{index, …receipt} or {index,
 * success, error: {code, hint, …facts}}]}, one result an item, in the order of the items.
 * Errors: invalid_batch, busy; in the results those of a single deduction, busy (of an account of which more
 * is due than one call books) and account_damaged, and not_applied.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: the server may not write the tables itself.
create function tokenbook.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean default false)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entries public.token_transactions[] := '{}';
  v_user_ids uuid[]; -- of the entries; NULL where the item was refused
  v_account_ids uuid[]; -- whose tokens they take: for a member of a team the payer's
  v_results jsonb[];
  v_receipts jsonb[];
  v_behind uuid[] := '{}'; -- accounts of which more is due than one call books, or this one has books left for
  v_work bigint; -- what is due on an account
  v_work_left bigint := 2 * (tokenbook.limits() -> 'due_grants')::bigint;
  v_unknown uuid[]; -- users without an account
  v_locked uuid[];
  v_has_joined boolean;
  v_made record;
  v_entry public.token_transactions;
  v_spent record;
  v_user_id uuid;
  v_counts record;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  -- validate
  if jsonb_typeof(p_items) is distinct from 'array'
    or octet_length(p_items::text) > (tokenbook.limits() -> 'batch_bytes')::integer
    or (case jsonb_typeof(p_items) when 'array' then jsonb_array_length(p_items) end)
       not between 1 and (tokenbook.limits() -> 'batch_items')::integer
  then
    perform tokenbook.refuse('invalid_batch', jsonb_build_object(
      'field', 'p_items',
      'rule', format('an array of 1 to %s items, at most %s bytes',
                     tokenbook.limits() -> 'batch_items', tokenbook.limits() -> 'batch_bytes')));
  end if;
  v_results := array_fill(null::jsonb, array[jsonb_array_length(p_items)]);
  begin -- as a rule all of them are well-formed
    v_entries := array(
      select tokenbook.parse_batch_item(i.item, i.nth)
        from jsonb_array_elements(p_items) with ordinality as i (item, nth)
       order by i.nth);
  exception
    when sqlstate 'PT400' then -- one of them is refused: each by itself, in a block of its own
      for i in 1..jsonb_array_length(p_items)
      loop
        v_entries[i] := null;
        begin
          v_entries[i] := tokenbook.parse_batch_item(p_items -> (i - 1), i);
        exception
          when sqlstate 'PT400' then
            get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
            v_results[i] := tokenbook.describe_item_error(v_slug, v_facts, v_hint);
        end;
      end loop;
  end;
  v_user_ids := array(select e.user_id from unnest(v_entries) with ordinality as e order by e.ordinality);

  begin -- what all-or-nothing undoes

    -- lock: a user without an account is first given the tokens of their plan, if they have one; then all accounts, in order
    select array_agg(coalesce(a.payer_id, u.user_id) order by u.nth),
           array_agg(distinct u.user_id) filter (
             where a.user_id is null and u.user_id is not null and not tokenbook.is_account_lost(u.user_id))
      into v_account_ids, v_unknown
      from unnest(v_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id;
    foreach v_user_id in array coalesce(v_unknown, '{}')
    loop
      perform tokenbook.grant_initial_plan(v_user_id);
    end loop;
    select array_agg(a.user_id), bool_or(a.payer_id is not null) into v_locked, v_has_joined
      from tokenbook.lock_accounts(v_account_ids, p_away_too => true) as a; -- each answers for itself
    if v_has_joined
      or v_account_ids <> v_user_ids and tokenbook.paying_accounts(v_user_ids) is distinct from v_account_ids
    then
      perform tokenbook.refuse('busy', '{}'); -- somebody joined or left a team meanwhile
    end if;

    -- replay, act, record: what is alone on its account and needs nothing but tokens, in the order of
    -- the accounts: neighbours are in the same pages
    v_receipts := v_results;
    begin
      for v_made in
        select m.nth, m.receipt
          from tokenbook.spend_tokens_batch(
                 array(
                   select v_entries[alone.nth]
                     from (
                       select a.nth, a.account_id, count(*) over (partition by a.account_id) as items
                         from unnest(v_account_ids) with ordinality as a (account_id, nth)) alone
                    where alone.items = 1 and alone.account_id = v_user_ids[alone.nth]
                    order by alone.account_id),
                 clock_timestamp()) as m
      loop
        v_receipts[v_made.nth] := v_made.receipt;
      end loop;
      v_results := v_receipts;
    exception
      when integrity_constraint_violation or data_exception then
        null; -- the books of one are damaged: each by itself, below
    end;

    -- and the rest
    for i in 1..cardinality(v_entries)
    loop
      continue when v_results[i] is not null;
      begin
        v_work := tokenbook.due_work(v_account_ids[i]);
        if v_account_ids[i] = any (v_behind) or v_work > v_work_left then
          v_behind := array_remove(v_behind, v_account_ids[i]) || v_account_ids[i];
          perform tokenbook.refuse('busy', '{}');
        end if;
        v_work_left := v_work_left - v_work;
        if v_account_ids[i] = any (v_locked) then
          v_entry := v_entries[i];
          v_spent := tokenbook.spend_tokens(
            v_entry.user_id, -v_entry.tokens, v_entry.action_type, v_entry.reason, v_entry.actor_role, v_entry.actor_id,
            v_entry.idempotency_key, v_entry.request, v_entry.metadata);
          if v_spent.is_behind then
            v_behind := array_remove(v_behind, v_account_ids[i]) || v_account_ids[i];
            perform tokenbook.refuse('busy', '{}');
          end if;
          v_results[i] := tokenbook.deduction_receipt(
            -v_entry.tokens, v_spent.id, v_spent.deducted_from,
            v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed)
            || tokenbook.describe_shortage(v_spent.capped_by, v_spent.tokens_restricted);
        else
          -- an account made meanwhile would be locked out of order: to this batch there is none
          perform tokenbook.require_user(v_account_ids[i], 'service');
          v_results[i] := tokenbook.deduction_receipt(
            -(v_entries[i]).tokens, null, '[]', -(v_entries[i]).tokens, 0, false);
        end if;
      exception
        when sqlstate 'PT403' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT410' or sqlstate 'PT422' or sqlstate 'PT500' or sqlstate 'PT503' then
          get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
          v_results[i] := tokenbook.describe_item_error(v_slug, v_facts, v_hint);
        when integrity_constraint_violation or data_exception then
          v_results[i] := tokenbook.describe_item_error(
            'account_damaged', null, tokenbook.describe_refusal('account_damaged') ->> 'hint');
      end;
    end loop;

    if p_all_or_nothing -- @all-or-nothing
      and exists (select 1 from unnest(v_results) as r (result) where r.result -> 'success' = 'false')
    then
      perform tokenbook.refuse('not_applied');
    end if;
  exception
    when sqlstate 'PT424' then
      get stacked diagnostics v_slug = message_text, v_hint = pg_exception_hint;
      v_results := array(
        select case when r.result -> 'success' = 'false' then r.result else tokenbook.describe_item_error(v_slug, null, v_hint) end
          from unnest(v_results) with ordinality as r (result, nth)
         order by r.nth);
  end;

  -- what more than this call has to book, as a sweep does it: outside of what all-or-nothing undoes
  if v_behind <> '{}' then
    perform tokenbook.lock_accounts(v_behind);
    perform tokenbook.sweep_accounts(v_behind, clock_timestamp()); -- @batches-settle-backlogs
  end if;

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
comment on function tokenbook.deduct_tokens_batch is
  'Many deductions in one call. For the server. p_items an array of {user_id, tokens, action_type, idempotency_key, metadata} (only the first two required), no more of them than Lists in the reference says (batch_items, batch_bytes); items of one user are applied in the order given. Each item is answered by itself and does not touch the others; with p_all_or_nothing any item that is refused or short undoes all. Returns {success (whether every item did), deducted (how many), replayed (how many), short (how many), failed (how many), results (in the order of the items: what deduct_tokens_with_fifo answers, with index, or {index, success, error: {code, hint, …facts}})}. Errors: invalid_batch, busy; of an item those of deduct_tokens_with_fifo, user_not_found, account_damaged, not_applied.';
