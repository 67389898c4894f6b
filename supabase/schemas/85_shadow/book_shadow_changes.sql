/*
 * Books what has happened to the project's counter: at most p_most changes a call, each in the transaction that takes it out of
 * tokenbook.shadow_changes, so that whatever stops it, each is booked once.
 *
 * An increase is a grant of the shadow's type. A decrease is a deduction `shadow`; what the books do not have is a
 * clawback, and so a debt that the next tokens repay: the counter may be below zero (as an import takes it). Frozen
 * accounts, caps and teams keep nothing from it: it has happened.
 * Amounts are added up exactly and become whole tokens as an import makes them, so parts of a token are not lost.
 * A user who is not in auth.users and has no books is left out, and counted. More due on an account than one call
 * books: a portion of that is booked, and the change waits.
 * Nothing is booked until the books' own share of the counter is recorded (shadow.is_begun): changes would be counted
 * from a wrong start. p_before_begun: book all the same, for the caller that is about to write that down.
 * Caller: the database owner (`tokenbook shadow`), one at a time.
 * Locks: the shadow's row; the accounts of the portion, in the order of their ids.
 * Errors: busy, and what issuing a grant or spending raises: then nothing of the portion is booked.
 * Returns {booked, granted, spent, owed, unknown, waiting}, changes but for the tokens granted, spent and owed; NULL where no
 * shadow runs, or it has not begun.   Keeps: I1 to I4, I10, I11.
 */
create function tokenbook.book_shadow_changes(p_most integer, p_before_begun boolean default false)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  v_shadow tokenbook.shadow;
  v_change record;
  v_kept tokenbook.shadow_balances;
  v_amount numeric;
  v_tokens bigint;
  v_has_books boolean;
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_account public.token_accounts;
  v_spent record;
  v_given record;
  v_booked bigint := 0;
  v_granted numeric := 0;
  v_taken numeric := 0;
  v_owed numeric := 0;
  v_unknown bigint := 0;
  v_waiting bigint := 0;
begin
  begin
    select s.* into v_shadow from tokenbook.shadow s for no key update; -- @changes-booked-by-one
  exception
    when lock_not_available then
      perform tokenbook.refuse('busy', '{}');
  end;
  if v_shadow.source is null or not (v_shadow.is_begun or p_before_begun) then -- @shadows-begin-first
    return null;
  end if;
  -- all at once and before anything else, as every caller that needs several accounts does
  perform tokenbook.lock_accounts(array( -- @shadow-locks-in-order begin
    select case when tokenbook.is_user_id(c.whose) then c.whose::uuid end
      from (select o.whose from tokenbook.shadow_changes o where o.error is null order by o.id limit p_most) c)); -- @shadow-locks-in-order end

  for v_change in
    select c.*, case when tokenbook.is_user_id(c.whose) then c.whose::uuid end as user_id
      from tokenbook.shadow_changes c
     where c.error is null
     order by c.id
     limit p_most
  loop
    if v_change.kind = 'truncate' then
      exit when v_booked + v_unknown > 0; -- by itself
      insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after, changed_at, transaction_id)
      select 'truncated', r.whose, r.amount, 0, v_change.changed_at, v_change.transaction_id
        from (
          select coalesce(b.user_id::text, w.whose) as whose, coalesce(b.amount, w.first_amount) + coalesce(w.change, 0) as amount
            from (select k.* from tokenbook.shadow_balances k where k.source = v_shadow.source) b
            full join ( -- what of before is not booked, and what went with the truncation before this one
              select lower(c.whose) as whose, sum(c.amount_after - c.amount_before) as change,
                     (array_agg(c.amount_before order by c.id))[1] as first_amount
                from tokenbook.shadow_changes c
               where c.kind = 'change' and c.id < v_change.id
                  or c.kind = 'truncated' -- @truncations-add-up
               group by lower(c.whose)) w on w.whose = b.user_id::text) r
       where r.amount <> 0;
      delete from tokenbook.shadow_changes c where c.id = v_change.id;
      v_booked := 1;
      exit;
    end if;

    select b.* into v_kept
      from tokenbook.shadow_balances b where b.user_id = v_change.user_id and b.source = v_shadow.source;
    if not found then
      v_has_books := exists (select 1 from public.token_accounts a where a.user_id = v_change.user_id);
      if not v_has_books and not exists (select 1 from auth.users u where u.id = v_change.user_id) then
        delete from tokenbook.shadow_changes c where c.id = v_change.id;
        v_unknown := v_unknown + 1;
        continue;
      end if;
      -- whom nobody knew of before: all of it is new to the books, unless they are of elsewhere
      v_kept.user_id := v_change.user_id;
      v_kept.amount := v_change.amount_before;
      v_kept.tokens := case when v_has_books then trunc(v_kept.amount * v_shadow.times) else 0 end;
      -- whose row comes back, having been imported: what they opened with is from it
      v_kept.tokens := coalesce(
        (select t.tokens - t.debt_change
           from public.token_transactions t
          where t.user_id = v_change.user_id and t.id = 1 and t.entry_type = 'opening_balance'
            and t.metadata ->> 'imported_from' = v_shadow.source),
        v_kept.tokens);
      v_change.kind := 'catch_up';
      insert into tokenbook.shadow_balances (user_id, source, amount, tokens)
      values (v_kept.user_id, v_shadow.source, v_kept.amount, v_kept.tokens);
    elsif v_kept.is_gone then -- @rows-that-come-back
      v_change.kind := 'catch_up';
    end if;

    v_amount := v_kept.amount + coalesce(v_change.amount_after - v_change.amount_before, 0);
    v_tokens := trunc(v_amount * v_shadow.times)
      - case when v_change.kind = 'catch_up' then v_kept.tokens else trunc(v_kept.amount * v_shadow.times) end;
    if v_tokens <> 0 then
      if tokenbook.settle_backlog(v_change.user_id) then
        v_waiting := v_waiting + 1;
        continue;
      end if;
      perform tokenbook.check_tokens('amount', abs(v_tokens));
      v_entry := null;
      v_entry.user_id := v_change.user_id;
      v_entry.reason := 'mirrored from ' || v_shadow.source;
      v_entry.actor_role := 'system';
      v_entry.metadata := jsonb_strip_nulls(jsonb_build_object(
        'mirrored_from', v_shadow.source, 'change', v_change.id, 'before', v_change.amount_before, 'after', v_change.amount_after,
        'changed_at', v_change.changed_at, 'transaction', v_change.transaction_id::text));
    end if;

    if v_tokens > 0 then
      v_grant := null;
      v_grant.grant_type := v_shadow.grant_type;
      v_grant.tokens_granted := v_tokens;
      v_grant.priority := 50;
      v_grant.metadata := v_entry.metadata;
      v_given := tokenbook.issue_grant(v_grant, v_entry, v_shadow.lifetime_days * interval '24 hours');
      if v_given.is_behind then
        v_waiting := v_waiting + 1;
        continue;
      end if;
      v_granted := v_granted + v_tokens;
    elsif v_tokens < 0 then
      v_tokens := -v_tokens;
      v_account := tokenbook.lock_account(v_change.user_id, p_create => true);
      if v_account.tokens_remaining > 0 and v_account.payer_id is null and v_account.state = 'active' then
        v_spent := tokenbook.spend_tokens(
          v_change.user_id, least(v_tokens, v_account.tokens_remaining), 'shadow', v_entry.reason, v_entry.actor_role, null,
          null, null, v_entry.metadata, p_on_shortage => 'partial');
        v_taken := v_taken + v_spent.tokens;
        v_tokens := v_tokens - v_spent.tokens;
      end if;
      if v_tokens > 0 then
        v_entry := tokenbook.claw_back(v_entry, null, v_tokens);
        v_taken := v_taken - v_entry.tokens;
        v_owed := v_owed + v_entry.debt_change;
      end if;
    end if;

    update tokenbook.shadow_balances b
       set amount = v_amount,
           is_gone = false,
           tokens = case when v_change.kind = 'catch_up' then trunc(v_amount * v_shadow.times)
                         else b.tokens + trunc(v_amount * v_shadow.times) - trunc(b.amount * v_shadow.times) end
     where b.user_id = v_change.user_id and b.source = v_shadow.source;
    delete from tokenbook.shadow_changes c where c.id = v_change.id;
    v_booked := v_booked + 1;
  end loop;

  return jsonb_build_object(
    'booked', v_booked, 'granted', v_granted, 'spent', v_taken, 'owed', v_owed, 'unknown', v_unknown, 'waiting', v_waiting);
end
$$;
comment on function tokenbook.book_shadow_changes is
  'Books at most p_most changes of the project''s counter, each once: an increase is a grant, a decrease a deduction, and what the books do not have a debt. For the database owner. Returns {booked, granted, spent, owed, unknown, waiting}; NULL where no shadow runs, or it has not begun (p_before_begun books all the same).';
