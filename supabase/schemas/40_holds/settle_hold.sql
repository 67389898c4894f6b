/*
 * Settles a hold, once: pays for the front of it (captured; nothing of one that is released or has run out), and what
 * lies behind that goes back to its grants, last taken first.
 *
 *   lock     the account and the hold, if nothing about them is unusual; else tokenbook.lock_hold
 *   replay   a hold that is settled stays as it is, and the answer says how
 *   decide   how much is paid, and how much of what was used beyond the hold
 *   act      what is not paid goes back
 *   record   the account's totals and when it is due next, the entries, the use, the hold
 *
 * p_status: captured, released or expired. Captured: p_tokens, else what p_usage counts for, else all of it. p_usage is
 * the row of token_usage to be, or nothing; p_over_capture as tokenbook.capture_tokens says it.
 * A child's rest goes back to its parent while that is open, and what it used beyond itself is taken from what the parent
 * has left, never from the grants. A parent settles what it has not passed on; its children stay as they are.
 * Expired is for the functions that book what has run out: they have locked the account, at p_now, and go on with it.
 * Caller: internal.   Locks: the account.
 * Returns what tokenbook.hold_receipt says; of a hold that has run out, NULL where somebody else has locked it.
 * Errors: busy, user_not_found, hold_not_found, forbidden, account_frozen, capture_exceeds_hold.
 * Keeps: I1 to I4, I7, I8, I10, I11.
 */
create function tokenbook.settle_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_status text,
  p_actor_role text,
  p_actor_id uuid,
  p_tokens bigint default null,
  p_over_capture text default 'deduct',
  p_usage public.token_usage default null,
  p_metadata jsonb default '{}',
  p_now timestamptz default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid := p_user_id; -- whose account it is on
  v_is_looked_at boolean := p_now is not null;
  v_now timestamptz := p_now; -- the clock under the lock
  v_has_usage constant boolean := p_usage.success is not null;
  -- the account
  v_account_place tid;
  v_remaining bigint;
  v_due_at timestamptz;
  v_alert_at timestamptz;
  v_spent_at timestamptz;
  v_spent_day bigint;
  v_spent_week bigint;
  v_spent_month bigint;
  v_last_id bigint;
  -- the hold, and the first grant of it
  v_hold_place tid;
  v_member_id uuid;
  v_held bigint;
  v_grant_ids uuid[];
  v_grant_tokens bigint[];
  v_expires_at timestamptz;
  v_action_type text;
  v_hold_entry bigint;
  v_created_at timestamptz;
  v_parent_id uuid;
  v_has_family boolean; -- a parent, or children
  v_grant_place tid;
  v_grant_type text;
  v_granted_at timestamptz;
  -- what becomes of it
  v_paid bigint; -- of what was used, out of the hold
  v_beyond bigint; -- as a new deduction
  v_overdrawn bigint := 0; -- of what is beyond, owed
  v_uncovered bigint; -- not at all
  v_back bigint; -- what was not used
  v_back_ids uuid[];
  v_back_tokens bigint[];
  v_back_due_at timestamptz;
  v_cost numeric;
  v_is_unknown boolean;
  v_usage_id uuid;
  v_model text; -- that it was for, where grants ask for that
  v_terms jsonb;
  v_capture_id bigint;
  v_overage_id bigint;
  v_deducted_from jsonb;
begin
  -- lock, as tokenbook.spend_tokens does
  if p_now is null and not pg_try_advisory_xact_lock(uuid_hash_extended(p_user_id, 0)) -- @settle-locks-first
    and pg_current_xact_id_if_assigned() is null
  then
    perform tokenbook.queue_for_account(p_user_id);
  end if;
  loop
    select a.ctid, a.tokens_remaining, a.next_due_at, a.next_alert_at, a.spent_at, a.spent_day, a.spent_week, a.spent_month,
           a.last_transaction_id, h.ctid, h.member_id, h.tokens, h.grant_ids, h.grant_tokens, h.expires_at, h.action_type,
           h.transaction_id, h.created_at, h.parent_id, h.parent_id is not null or h.tokens_passed > 0, b.ctid, b.grant_type, b.granted_at, coalesce(v_now, clock_timestamp())
      into v_account_place, v_remaining, v_due_at, v_alert_at, v_spent_at, v_spent_day, v_spent_week, v_spent_month,
           v_last_id, v_hold_place, v_member_id, v_held, v_grant_ids, v_grant_tokens, v_expires_at, v_action_type,
           v_hold_entry, v_created_at, v_parent_id, v_has_family, v_grant_place, v_grant_type, v_granted_at, v_now
      from public.token_accounts a
      join public.token_holds h on h.user_id = v_user_id and h.id = p_hold_id
      left join public.token_balances b on b.user_id = v_user_id and b.id = h.grant_ids[1]
     where a.user_id = v_user_id and h.status = 'open'
       and (v_is_looked_at -- or nothing about it is unusual
         or h.member_id is null
            and (a.next_due_at <= clock_timestamp()) is not true
            and a.alerts_version is not null -- @usual-is-here
            and (p_actor_role <> 'user' or h.actor_role = 'user')) -- @usual-own-holds
       for no key update of a, h skip locked; -- @hold-read-with-lock
    if v_is_looked_at then
      exit when found;
      -- somebody has locked the hold by itself, in the SQL editor: it stays as it is
      return case when p_now is null then tokenbook.answer_busy() end; -- @locked-holds-stay
    end if;
    exit when found and (v_due_at <= v_now) is not true; -- @one-clock-settles: something has run out while the statement ran
    declare
      v_locked constant record := tokenbook.lock_hold(p_user_id, p_hold_id, p_actor_role);
      v_hold constant public.token_holds := v_locked.hold;
    begin
      if v_locked.is_behind then
        return tokenbook.answer_busy();
      elsif v_hold.status <> 'open' then -- replay
        return tokenbook.stored_hold_receipt(v_hold, p_status, p_replayed => true);
      end if;
      v_user_id := v_hold.user_id;
      v_now := v_locked.locked_at;
      v_is_looked_at := true;
    end;
  end loop;

  -- decide
  v_paid := case when p_status = 'captured' then coalesce(p_tokens, v_held) else 0 end;
  if v_has_usage then
    p_usage.action_type := v_action_type;
    p_usage.created_at := v_now;
    select m.tokens_used, m.cost_estimate, m.is_unknown into p_usage.tokens_used, p_usage.cost_estimate, v_is_unknown
      from tokenbook.measure_usage(
        v_action_type, p_usage.model_used, p_usage.input_tokens, p_usage.output_tokens, p_tokens, p_usage.cached_tokens,
        p_usage.reasoning_tokens, p_usage.images, p_usage.seconds, v_now) as m;
    if v_is_unknown then
      perform tokenbook.meet_unknown_model(p_usage.model_used, p_actor_role, p_may_refuse => false); -- the call has been made
    end if;
    p_usage.tokens_used := coalesce(p_usage.tokens_used, case when p_usage.success then v_held else 0 end);
    v_paid := case when p_usage.success then p_usage.tokens_used else 0 end;
    v_cost := case when p_usage.success then p_usage.cost_estimate end;
    v_usage_id := gen_random_uuid();
  end if;
  if v_paid > v_held then
    v_beyond := v_paid - v_held;
    v_paid := v_held;
    if p_over_capture = 'reject' then
      perform tokenbook.refuse('capture_exceeds_hold', jsonb_build_object('limit', v_held));
    elsif p_over_capture = 'cap' then
      v_uncovered := v_beyond;
      v_beyond := null;
    elsif v_parent_id is not null then -- @beyond-its-budget
      declare
        v_grown record;
        v_hold public.token_holds;
      begin
        v_grown := tokenbook.grow_hold(
          v_user_id, p_hold_id, v_beyond, p_over_capture = 'partial',
          p_usage.model_used, p_actor_role, p_actor_id, v_now);
        if v_grown.tokens is null then
          return tokenbook.answer_busy();
        elsif v_grown.tokens < v_beyond and p_over_capture <> 'partial' then
          select h.* into v_hold from public.token_holds h where h.user_id = v_user_id and h.id = p_hold_id;
          return tokenbook.stored_hold_receipt(v_hold, p_status, p_replayed => false)
              || jsonb_build_object('tokens_remaining_to_deduct', v_beyond - v_grown.payable);
        end if;
        v_uncovered := v_beyond - v_grown.tokens;
        v_beyond := null;
        if v_grown.tokens > 0 then
          select a.ctid, a.next_due_at, a.next_alert_at, -- @grown-is-due-anew
                 a.spent_at, a.spent_day, a.spent_week, a.spent_month, a.last_transaction_id,
                 h.ctid, h.tokens, h.tokens, h.grant_ids, h.grant_tokens
            into v_account_place, v_due_at, v_alert_at, v_spent_at, v_spent_day, v_spent_week, v_spent_month, v_last_id,
                 v_hold_place, v_held, v_paid, v_grant_ids, v_grant_tokens
            from public.token_accounts a
            join public.token_holds h on h.user_id = v_user_id and h.id = p_hold_id
           where a.user_id = v_user_id;
        end if;
      end;
    else
      declare
        v_account public.token_accounts;
        v_hold public.token_holds;
        v_cap record;
        v_is_frozen boolean;
        v_has_left boolean; -- the member the team; or a user their own account, for a team
        v_allowed bigint;
        v_payable bigint;
      begin
        select a.* into v_account from public.token_accounts a where a.user_id = v_user_id;
        v_cap := tokenbook.spend_headroom(v_account, v_member_id, v_now);
        v_is_frozen := tokenbook.is_frozen(v_account, v_member_id); -- @frozen-beyond-the-hold
        if v_is_frozen and p_over_capture <> 'partial' then
          perform tokenbook.refuse('account_frozen', '{}');
        end if;
        v_has_left := tokenbook.paying_account(coalesce(v_member_id, v_user_id)) <> v_user_id; -- @beyond-holds-is-new
        if v_account.restricted_until > v_now then
          v_model := coalesce(p_usage.model_used, (
            select t.terms ->> 'model' from public.token_transactions t where t.user_id = v_user_id and t.id = v_hold_entry));
          v_terms := case when v_model is not null then jsonb_build_object('model', v_model) end;
          v_payable := tokenbook.tokens_payable(v_user_id, v_beyond, v_now, false, 0, v_action_type, v_model); -- @beyond-what-pays
        end if;
        v_allowed := case when v_has_left or v_is_frozen then 0
                          else least(v_account.tokens_remaining, v_payable, v_cap.headroom) end;
        if p_over_capture = 'partial' then
          v_uncovered := greatest(v_beyond - v_allowed, 0);
          v_beyond := v_beyond - v_uncovered; -- @takes-what-there-is
        elsif v_allowed < v_beyond then
          if p_over_capture = 'overdraft' and v_allowed = v_account.tokens_remaining and not v_has_left then
            v_overdrawn := least(tokenbook.overdraft_left(v_account), v_cap.headroom - v_allowed); -- @overdrawn-within-the-cap
          end if;
          if v_allowed + v_overdrawn >= v_beyond then -- @overdrawn-beyond-the-hold
            v_overdrawn := v_beyond - v_allowed;
          else
            select h.* into v_hold from public.token_holds h where h.user_id = v_user_id and h.id = p_hold_id;
            return tokenbook.stored_hold_receipt(v_hold, p_status, p_replayed => false)
                || jsonb_build_object('tokens_remaining_to_deduct', v_beyond - v_allowed - v_overdrawn)
                || tokenbook.describe_shortage(
                   case when not v_has_left and v_cap.headroom < v_beyond then v_cap.capped_by end,
                   case when v_payable < least(v_beyond, v_account.tokens_remaining) then v_account.tokens_remaining - v_payable end);
          end if;
        end if;
      end;
    end if;
  end if;
  v_back := v_held - v_paid; -- @captures-what-was-used

  if v_has_family then
    declare
      v_is_open boolean;
      v_returned bigint := 0; -- of its rest, to the parent
      v_return public.token_transactions;
    begin
      -- what comes back was set aside when the parent was, and by its entry
      select p.id = v_parent_id and p.status = 'open' and p.expires_at > v_now, p.created_at, p.transaction_id
        into v_is_open, v_created_at, v_hold_entry
        from public.token_holds p
       where p.user_id = v_user_id and p.id = coalesce(v_parent_id, p_hold_id)
         for no key update skip locked;
      if not found then
        return case when p_now is null then tokenbook.answer_busy() end;
      elsif v_is_open and v_back > 0 then -- @children-give-back
        select part.grant_ids, part.grant_tokens into v_back_ids, v_back_tokens
          from tokenbook.slice_allocations(v_grant_ids, v_grant_tokens, v_paid, v_held) as part;
        select part.grant_ids, part.grant_tokens into v_grant_ids, v_grant_tokens
          from tokenbook.slice_allocations(v_grant_ids, v_grant_tokens, 0, v_paid) as part;
        perform tokenbook.return_to_hold(v_user_id, v_parent_id, v_back_ids, v_back_tokens);
        v_returned := v_back;
        v_held := v_paid; -- what is settled with the grants
        v_back := 0;
      end if;
      update public.token_holds h
         set children_captured = h.children_captured + v_paid
       where h.user_id = v_user_id and h.id = v_parent_id and v_paid > 0;
      if v_returned > 0 or v_held = 0 then -- to its parent; or a parent that has nothing left
        v_last_id := v_last_id + 1;
        v_return.user_id := v_user_id;
        v_return.id := v_last_id;
        v_return.balance_after := v_remaining;
        v_return.reason := case p_status when 'expired' then 'the hold ran out' when 'captured' then 'not needed' else 'released' end;
        v_return.actor_role := p_actor_role;
        v_return.actor_id := p_actor_id;
        v_return.hold_id := p_hold_id;
        v_return.member_id := v_member_id;
        v_return.created_at := v_now;
        perform tokenbook.append_transactions(array[tokenbook.as_move(
          v_return, 'hold_return', p_hold_id, v_parent_id, coalesce(v_back_ids, '{}'), coalesce(v_back_tokens, '{}'))]);
      end if;
    end;
  end if;

  -- act: as a rule nothing goes back, or to one grant, which lives and has room: a copy of tokenbook.return_tokens, which
  -- to call here takes a fifteenth more (decision 26)
  if v_back > 0 then
    v_back_ids := v_grant_ids;
    v_back_tokens := array[v_back];
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + v_back, is_open = true
     where b.user_id = v_user_id and b.ctid = v_grant_place
       and cardinality(v_grant_ids) = 1
       and b.tokens_remaining + v_back <= b.tokens_granted
       and (b.expires_at > v_now or b.expires_at is null)
    returning b.expires_at into v_back_due_at;
    if found then
      v_due_at := least(v_due_at, v_back_due_at);
      if v_paid > 0 then
        v_grant_tokens := array[v_paid];
      else
        v_grant_ids := '{}';
        v_grant_tokens := '{}';
      end if;
    else
      select part.grant_ids, part.grant_tokens into v_back_ids, v_back_tokens
        from tokenbook.slice_allocations(v_grant_ids, v_grant_tokens, v_paid, v_held) as part;
      select part.grant_ids, part.grant_tokens into v_grant_ids, v_grant_tokens
        from tokenbook.slice_allocations(v_grant_ids, v_grant_tokens, 0, v_paid) as part;
      select back.grant_ids, back.grant_tokens into v_back_ids, v_back_tokens
        from tokenbook.return_tokens(v_user_id, v_back_ids, v_back_tokens, v_now) as back;
      select a.ctid, a.next_due_at into v_account_place, v_due_at from public.token_accounts a where a.user_id = v_user_id;
    end if;
  end if;
  if v_due_at = v_expires_at and p_now is null then -- @settled-holds-are-over
    select d.at into v_due_at from tokenbook.next_due(v_user_id, v_alert_at, p_hold_id) as d;
  end if;

  -- record: what tokenbook.record_transaction does for everything else, for both entries at once. What comes back comes
  -- back into the day, week and month that it was taken from
  if least(v_spent_at, v_created_at) < date_trunc('day', v_now, 'UTC') then
    declare
      v_day constant timestamptz := date_trunc('day', v_now, 'UTC');
      v_week constant timestamptz := date_trunc('week', v_now, 'UTC');
      v_month constant timestamptz := date_trunc('month', v_now, 'UTC');
    begin
      v_spent_day := case when v_spent_at >= v_day then v_spent_day else 0 end + case when v_created_at >= v_day then 0 else v_back end;
      v_spent_week := case when v_spent_at >= v_week then v_spent_week else 0 end + case when v_created_at >= v_week then 0 else v_back end;
      v_spent_month := case when v_spent_at >= v_month then v_spent_month else 0 end + case when v_created_at >= v_month then 0 else v_back end;
    end;
  end if;
  -- copies of tokenbook.append_transactions: to call it here takes a seventh more (decision 34)
  if v_paid > 0 or v_has_usage then
    v_last_id := v_last_id + 1;
    v_capture_id := v_last_id;
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, reserved_change, grant_ids, grant_tokens, reason,
       actor_role, actor_id, usage_id, hold_id, member_id, metadata, created_at)
    values
      (v_user_id, v_capture_id, case when v_paid > 0 then 'deduction' else 'usage' end, v_action_type, -v_paid,
       v_remaining, -v_paid, v_grant_ids, v_grant_tokens, v_action_type,
       p_actor_role, p_actor_id, v_usage_id, p_hold_id, v_member_id, p_metadata, v_now);
  end if;
  if v_back > 0 then
    v_last_id := v_last_id + 1;
    v_remaining := v_remaining + v_back;
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, reserved_change, grant_ids, grant_tokens, reason,
       actor_role, actor_id, hold_id, original_id, member_id, created_at)
    values
      (v_user_id, v_last_id, 'release', v_action_type, 0, v_remaining, -v_back, v_back_ids, v_back_tokens,
       case when p_status = 'expired' then 'the hold ran out' when p_status = 'captured' then 'not needed' else 'released' end,
       p_actor_role, p_actor_id, p_hold_id, v_hold_entry, v_member_id, v_now);
  end if;
  update public.token_accounts a
     set tokens_remaining = v_remaining,
         tokens_reserved = a.tokens_reserved - v_held,
         tokens_used = a.tokens_used + v_paid,
         spent_at = greatest(v_spent_at, v_now),
         spent_day = v_spent_day - v_back,
         spent_week = v_spent_week - v_back,
         spent_month = v_spent_month - v_back,
         total_cost = a.total_cost + coalesce(v_cost, 0),
         next_due_at = v_due_at,
         last_transaction_id = v_last_id,
         updated_at = v_now
   where a.user_id = v_user_id and a.ctid = v_account_place;
  if v_member_id is not null then
    perform tokenbook.count_for_member(v_user_id, v_member_id, v_paid, -v_back, v_created_at, v_now);
  end if;
  if v_beyond > 0 then
    declare
      v_entry public.token_transactions;
    begin
      v_entry.user_id := v_user_id;
      v_entry.member_id := v_member_id;
      v_entry.entry_type := 'deduction';
      v_entry.action_type := v_action_type;
      v_entry.reason := v_action_type;
      v_entry.actor_role := p_actor_role;
      v_entry.actor_id := p_actor_id;
      v_entry.usage_id := v_usage_id;
      v_entry.hold_id := p_hold_id;
      v_entry.metadata := p_metadata;
      v_entry.terms := v_terms;
      v_entry.created_at := v_now;
      select taken.grant_ids, taken.grant_tokens, v_uncovered + v_beyond - taken.tokens, taken.tokens
        into v_entry.grant_ids, v_entry.grant_tokens, v_uncovered, v_beyond
        from tokenbook.take_from_grants(v_user_id, v_beyond - v_overdrawn, v_now, p_partial => p_over_capture = 'partial',
               p_action_type => v_action_type, p_model_used => v_model) as taken;
      v_entry.tokens := -v_beyond;
      v_entry.debt_change := v_overdrawn;
      v_entry := tokenbook.record_transaction(v_entry);
      v_overage_id := v_entry.id;
    end;
  end if;
  if v_has_usage then
    p_usage.user_id := v_user_id;
    p_usage.id := v_usage_id;
    p_usage.member_id := v_member_id;
    p_usage.transaction_id := v_capture_id;
    p_usage.tokens_uncovered := coalesce(v_uncovered, 0);
    p_usage.metadata := p_metadata;
    insert into public.token_usage values (p_usage.*);
  end if;
  update public.token_holds h
     set status = p_status, tokens_captured = v_paid, tokens_uncovered = coalesce(v_uncovered, 0), settled_at = v_now,
         capture_id = v_capture_id, overage_id = v_overage_id, usage_id = v_usage_id
   where h.user_id = v_user_id and h.ctid = v_hold_place;
  if v_back > 0 then
    declare
      v_tells boolean; -- an alert falls due, or may
      v_is_owed boolean; -- a debt, an expiry, or the plan limit has to do with what came back
    begin
      select a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above or a.warns_of_expiry
               or a.alerts_version is distinct from (select r.alerts_version from tokenbook.project_settings r),
             a.tokens_owed > 0 or a.next_due_at <= v_now
               or exists (select 1 from tokenbook.subscriptions s where s.user_id = v_user_id and s.tokens_limit < v_remaining)
        into v_tells, v_is_owed
        from public.token_accounts a where a.user_id = v_user_id;
      if v_tells then
        perform tokenbook.raise_alerts(v_user_id, v_remaining - v_back, v_now);
      end if;
      if v_is_owed and p_now is null then
        v_remaining := tokenbook.settle_incoming(v_user_id, v_now);
      end if;
    end;
  end if;

  if v_has_family or v_overage_id is not null then
    declare
      v_hold public.token_holds;
    begin
      select h.* into v_hold from public.token_holds h where h.user_id = v_user_id and h.id = p_hold_id;
      return tokenbook.stored_hold_receipt(v_hold, p_status, p_replayed => false);
    end;
  end if;
  v_deducted_from := case
    when v_paid = 0 then '[]'
    when cardinality(v_grant_ids) = 1
      then jsonb_build_array(tokenbook.describe_allocation(v_grant_ids[1], v_grant_type, v_granted_at, v_paid))
    else tokenbook.describe_allocations(v_user_id, v_grant_ids, v_grant_tokens)
  end;
  return tokenbook.hold_receipt(
    p_status, p_hold_id, p_status, v_held, v_paid, v_paid, coalesce(v_uncovered, 0), v_deducted_from,
    v_capture_id, null, v_usage_id, p_usage.cost_estimate, v_now, v_remaining, p_replayed => false);
end
$$;
comment on function tokenbook.settle_hold is
  'Settles a hold, once: pays for the front of it, gives the rest back to its grants, last taken first; captured, released, or expired when what has run out is booked. The receipt.';
