/*
 * The entry of the ledger that says the same as a use, so that nothing is lost of the books when the use is in a file: by
 * its id, moment, action, member and tokens. None for what has no such entry (of before the books, a copy, what somebody
 * changed), for an admin's correction, for a test user, whose past moves, while an account is on its way to another
 * project, and of the hour in which it came or went: of that, reports count a part.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: tokenbook.uses_to_archive, archive_uses, restore_uses.
 */
create function tokenbook.settled_entry(p_use public.token_usage)
returns setof public.token_transactions
language sql
stable
security invoker
as $$
  select t.*
    from public.token_transactions t
    join public.token_accounts a on a.user_id = t.user_id and a.state in ('active', 'frozen')
    left join public.token_holds h on h.user_id = t.user_id and h.id = t.hold_id
    left join public.token_transactions o on o.user_id = h.user_id and o.id = h.overage_id -- what went beyond the hold
   where t.user_id = p_use.user_id and t.id = p_use.transaction_id
     and t.usage_id = p_use.id
     and t.entry_type in ('deduction', 'usage')
     and t.action_type = p_use.action_type and t.action_type <> all (tokenbook.reserved_action_types())
     and t.created_at = p_use.created_at
     and t.member_id is not distinct from p_use.member_id
     and t.debt_change - t.tokens + coalesce(o.debt_change - o.tokens, 0) -- @entry-says-the-same
         = case when p_use.success then p_use.tokens_used - p_use.tokens_uncovered else 0 end
     and not exists (select 1 from tokenbook.test_users u where u.user_id = t.user_id)
     and not exists ( -- @hours-of-moves-stay begin
       select 1 from tokenbook.moves m
        where m.user_id = t.user_id and date_trunc('hour', m.started_at) = date_trunc('hour', p_use.created_at)) -- @hours-of-moves-stay end
$$;
comment on function tokenbook.settled_entry is
  'The entry of the ledger that says the same as a use; none where the use has to stay in token_usage.';
