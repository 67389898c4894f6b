/*
 * Erases what is personal of a user from everything of Tokenbook's, and keeps every number: what callers wrote about them
 * into the ledger and beside it (metadata, reasons, messages of errors), in their own account and, of a member of a team, in
 * the payer's. docs/guides/erasing-a-user.md has each column, and why what stays does.
 * The ledger is append-only for everyone else; here words are taken out of it, which a checkpoint from before shows
 * as what it is (decision 53). The user may be gone from auth.users, or be there still: what is done for them
 * afterwards is written down as ever.
 * Changes at most p_limit rows a call: call it until is_done. It looks at all of the user's entries each time, as a
 * verification of one user does. Erased once is erased; again finds nothing.
 * Caller: an admin, service_role.   Locks: the account, and those of whom they are a member.
 * Returns {success, user_id, erased (rows, by table), is_done}.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, invalid_page, busy.   Keeps: the books; of I6 words go.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.forget_token_user(p_user_id uuid, p_limit integer default 10000)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_table text;
  v_set text;
  v_where text;
  v_rows bigint;
  v_found bigint;
  v_total bigint := 0;
  v_users uuid[];
  v_erased jsonb := '{}';
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if p_limit is null or p_limit not between 1 and 100000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 100000"}');
  end if;
  if not tokenbook.is_user(p_user_id)
    and not exists (select 1 from public.token_accounts a where a.user_id = p_user_id)
    and not exists (select 1 from public.token_transactions t where p_user_id in (t.user_id, t.member_id))
    and not exists (select 1 from tokenbook.changes c where c.user_id = p_user_id)
  then
    perform tokenbook.refuse('user_not_found', '{"field": "p_user_id"}');
  end if;

  -- lock
  perform a.user_id
     from tokenbook.lock_accounts(
            array(select p_user_id union select m.user_id from public.token_team_members m where m.member_id = p_user_id),
            p_away_too => true) a -- what was moved is erased here, too
    where a.state in ('moving', 'arriving')
    limit 1;
  if found then
    perform tokenbook.refuse('account_moving', '{}');
  end if;

  -- act
  perform set_config('tokenbook.erasing', 'yes', true); -- what keep_ledger_append_only lets through
  loop
    -- what stands beside an entry goes with it, so that they say the same at every commit
    with found as (
      select t.user_id, t.id, w.reason, w.request, w.metadata
        from public.token_transactions t
       cross join lateral tokenbook.without_words(row(t.*)::public.token_transactions) w
       where (t.user_id = p_user_id and t.member_id is null or t.member_id = p_user_id) -- @words-of-the-person
         and (w.reason, w.request, w.metadata) is distinct from (t.reason, t.request, t.metadata)
       limit p_limit - v_total
    ), erased as (
      update public.token_transactions t
         set reason = f.reason, request = f.request, metadata = f.metadata
        from found f
       where t.user_id = f.user_id and t.id = f.id
      returning t.user_id, t.id, t.entry_type, t.grant_ids[1] as grant_id, t.usage_id, t.hold_id, t.payment_id, t.reason, t.metadata, t.terms ? 'move' as moves
    ), grants as (
      update public.token_balances b set metadata = e.metadata
        from erased e where e.entry_type = 'grant' and b.user_id = e.user_id and b.id = e.grant_id
    ), usages as (
      update public.token_usage u
         set error_message = null,
             metadata = case when u.action_type in ('admin_grant', 'admin_deduct')
                             then e.metadata || jsonb_build_object('reason', e.reason, 'transaction_id', e.id) else e.metadata end
        from erased e where u.user_id = e.user_id and u.id = e.usage_id and u.transaction_id = e.id -- @trail-goes-along
    ), holds as (
      update public.token_holds h set metadata = e.metadata
        from erased e where (e.entry_type = 'hold' or e.moves) and h.user_id = e.user_id and h.id = e.hold_id
    ), payments as (
      update public.token_payments p set reason = e.reason
        from erased e where e.entry_type = 'grant' and p.user_id = e.user_id and p.id = e.payment_id and p.reason is not null
    )
    select count(*), array_agg(distinct e.user_id) into v_found, v_users from erased e;
    -- computed from those words; the next checkpoint computes them anew
    delete from tokenbook.ledger_checkpoints c where c.user_id = any (v_users);
    v_erased := v_erased || jsonb_build_object(
      'token_transactions', coalesce((v_erased -> 'token_transactions')::bigint, 0) + v_found);
    v_total := v_total + v_found;

    for v_table, v_set, v_where in values
      -- what no entry of the ledger is of: from before the books, failed or free
      ('public.token_usage', 'error_message = null, metadata = case when x.transaction_id is null then tokenbook.request_ids(x.metadata) else x.metadata end',
       'x.error_message is not null or x.transaction_id is null and x.metadata - ''request_id'' - ''requestId'' <> ''{}'''),
      ('public.token_balances', 'metadata = tokenbook.words_of_ours(x.metadata)', 'x.metadata <> tokenbook.words_of_ours(x.metadata)'),
      ('public.token_storage_quotas', 'metadata = tokenbook.words_of_ours(x.metadata)', 'x.metadata <> tokenbook.words_of_ours(x.metadata)'),
      ('public.token_legacy_transactions', 'metadata = tokenbook.words_of_ours(x.metadata)', 'x.metadata <> tokenbook.words_of_ours(x.metadata)'),
      ('public.token_payments', 'reason = tokenbook.erased(x.reason)', 'x.reason <> tokenbook.erased(x.reason)'),
      ('public.token_top_up_requests', 'reason = tokenbook.erased(x.reason)', 'x.reason <> tokenbook.erased(x.reason)'),
      ('public.token_spend_caps', 'reason = tokenbook.erased(x.reason)', 'x.reason <> tokenbook.erased(x.reason)'),
      ('public.token_alerts', 'payload = x.payload - ''reason''', 'x.payload ? ''reason'''),
      ('tokenbook.webhook_deliveries', 'last_error = null', 'x.last_error is not null'),
      ('tokenbook.changes', 'reason = tokenbook.erased(x.reason)', 'x.reason <> tokenbook.erased(x.reason)'),
      ('tokenbook.acknowledged_findings', 'reason = tokenbook.erased(x.reason)', 'x.reason <> tokenbook.erased(x.reason)'),
      ('tokenbook.failed_registrations', 'error = left(x.error, 5)', 'length(x.error) > 5'), -- the SQLSTATE
      ('tokenbook.set_aside_accounts', 'reason = left(x.reason, 5)', 'length(x.reason) > 5'),
      ('tokenbook.cleared_token_balances', 'grant_row = x.grant_row - ''metadata''', 'x.grant_row ? ''metadata''')
    loop
      execute format(
        'with found as (select x.tableoid, x.ctid from %1$s x where x.user_id = $1 and (%2$s) limit $2), '
        'erased as (update %1$s x set %3$s from found f where x.ctid = f.ctid and x.tableoid = f.tableoid returning 1) select count(*) from erased',
        v_table, v_where, v_set)
        into v_rows using p_user_id, p_limit - v_total;
      v_erased := v_erased || jsonb_build_object(
        regexp_replace(v_table, '^public[.]', ''), coalesce((v_erased -> regexp_replace(v_table, '^public[.]', ''))::bigint, 0) + v_rows);
      v_found := v_found + v_rows;
      v_total := v_total + v_rows;
    end loop;
    -- what another auth server calls them, how often they guessed, their code to refer others: while they are there, they need it
    foreach v_table in array array['tokenbook.subjects', 'tokenbook.code_attempts', 'tokenbook.referral_codes'] loop
      execute format('delete from %s x where x.user_id = $1 and not tokenbook.is_user($1)', v_table) using p_user_id;
      get diagnostics v_rows = row_count;
      v_erased := v_erased || jsonb_build_object(v_table, coalesce((v_erased -> v_table)::bigint, 0) + v_rows);
      v_total := v_total + v_rows;
    end loop;
    exit when v_found = 0 or v_total >= p_limit;
  end loop;

  perform set_config('tokenbook.erasing', '', true); -- @and-no-longer

  -- record
  v_erased := (select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(v_erased) e where e.value <> '0');
  if v_total > 0 or not exists (
    select 1 from tokenbook.changes c where c.user_id = p_user_id and c.change = 'forget_token_user')
  then
    perform tokenbook.record_change(
      'forget_token_user', p_user_id, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('rows', v_total));
  end if;
  return jsonb_build_object('success', true, 'user_id', p_user_id, 'erased', v_erased, 'is_done', v_found = 0);
end
$$;
comment on function tokenbook.forget_token_user is
  'Erases what is personal of a user from the books, for a person who asks for it: metadata, reasons and messages of errors, in the ledger and beside it. Numbers, ids, keys and what a payment provider told of money stay. For an admin or the server; list_token_changes says who asked and when. p_limit 1 to 100,000 rows a call: call it until is_done is true. Erased once is erased; again changes nothing. Returns {success, user_id, erased (rows, by table), is_done}. Errors: invalid_user_id, user_not_found, invalid_page, forbidden, busy.';
