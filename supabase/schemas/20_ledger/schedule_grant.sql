/*
 * Says in the ledger that a grant is to come: an entry of 0 tokens that keeps what it will be (terms.upcoming), and when.
 * p_grant is the grant to be, with the moment at which it begins as its granted_at; p_entry the transaction to be.
 * Caller: tokenbook.issue_grant, holding the account's lock, with nothing due.   Returns the transaction.
 * Errors: too_many_upcoming_grants.   Keeps: I3, I5, I7, I10, I11.
 */
create function tokenbook.schedule_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  p_now timestamptz
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := (tokenbook.limits() -> 'upcoming_grants')::integer;
begin
  if (select count(*) from tokenbook.upcoming_grants u where u.user_id = p_entry.user_id) >= v_limit then -- @few-grants-to-come
    perform tokenbook.refuse('too_many_upcoming_grants', jsonb_build_object('limit', v_limit));
  end if;
  p_grant.id := gen_random_uuid();
  p_entry.entry_type := 'usage';
  p_entry.action_type := 'upcoming_grant';
  p_entry.tokens := 0;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  p_entry.terms := jsonb_build_object('upcoming', tokenbook.grant_terms(p_grant));
  p_entry.created_at := p_now;
  p_entry := tokenbook.record_transaction(p_entry, p_due_at => p_grant.granted_at); -- @due-when-it-begins
  insert into tokenbook.upcoming_grants (user_id, id, starts_at, transaction_id)
  values (p_entry.user_id, p_grant.id, p_grant.granted_at, p_entry.id);
  return p_entry;
end
$$;
comment on function tokenbook.schedule_grant is
  'Says in the ledger that a grant is to come, and when. Returns the transaction.';
