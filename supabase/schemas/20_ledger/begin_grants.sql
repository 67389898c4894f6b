/*
 * Books the grants whose moment has come (tokenbook.grants_to_begin), one grant and entry each; of what an admin gave, or
 * of type admin, the token_usage row admin_grant too, as tokenbook.grant_tokens does. What the account cannot hold is
 * called off, and the ledger says so. Before the slots of plans: what there is room for then, those get.
 * Caller: tokenbook.record_expiries, holding the account's lock, which sets what the account is due next and lifts the
 * plan limit.   Returns how many.   Keeps: I2, I3, I4, I10, I11.
 */
create function tokenbook.begin_grants(p_user_id uuid, p_now timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due record;
  v_grant public.token_balances;
  v_entry public.token_transactions;
  v_booked integer := 0;
begin
  for v_due in
    select (g.scheduled).id, (g.scheduled).actor_role, (g.scheduled).reason, g.granted, g.is_fitting
      from tokenbook.grants_to_begin(p_user_id, p_now) g
  loop
    v_grant := v_due.granted;
    v_booked := v_booked + 1;
    delete from tokenbook.upcoming_grants u
     where u.user_id = p_user_id and u.starts_at = v_grant.granted_at and u.id = v_grant.id;
    v_entry := null;
    v_entry.user_id := p_user_id;
    v_entry.original_id := v_due.id;
    v_entry.actor_role := 'system';
    v_entry.created_at := p_now;
    if not v_due.is_fitting then
      v_entry := tokenbook.as_void(v_entry, v_grant.id);
      v_entry.reason := 'the account cannot hold more tokens';
      perform tokenbook.call_off_grant(v_entry);
      continue;
    end if;

    v_grant.created_at := p_now;
    insert into public.token_balances select (v_grant).*
    on conflict (user_id, id) do nothing; -- whatever else is wrong, the user can still use their account
    continue when not found;
    v_entry.entry_type := 'grant';
    v_entry.action_type := tokenbook.grant_type_terms(v_grant.grant_type) ->> 'action_type';
    v_entry.tokens := v_grant.tokens_granted;
    v_entry.grant_ids := array[v_grant.id];
    v_entry.grant_tokens := array[v_grant.tokens_granted];
    v_entry.reason := v_due.reason;
    v_entry.metadata := v_grant.metadata;
    v_entry.terms := jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(v_grant)));
    if v_grant.grant_type = 'admin' or v_due.actor_role = 'admin' then
      v_entry.usage_id := gen_random_uuid();
    end if;
    v_entry := tokenbook.record_transaction(v_entry);
    if v_grant.cost_basis_cents is not null then
      perform tokenbook.note_sale(p_user_id, v_grant.id, v_entry.id - 1);
    end if;
    if v_entry.usage_id is not null then
      perform tokenbook.write_admin_usage(v_entry, 'admin_grant');
    end if;
  end loop;
  return v_booked;
end
$$;
comment on function tokenbook.begin_grants is
  'Books the grants whose moment has come, one grant and entry each; the caller holds the account''s lock.';

/*
 * Records that a grant to come will not: an entry of 0 tokens. p_entry is the transaction to be, of tokenbook.as_void,
 * with the entry that said it as its original_id.
 * Caller: internal, holding the account's lock, which has removed the row of the grant to come.   Returns the transaction.
 */
create function tokenbook.call_off_grant(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  p_entry.entry_type := 'void';
  p_entry.action_type := 'void';
  p_entry.tokens := 0;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  return tokenbook.record_transaction(p_entry);
end
$$;
comment on function tokenbook.call_off_grant is
  'Records that a grant to come will not. Returns the transaction.';
