/*
 * Of grants to come, those whose moment has come by p_at and that are not booked yet, one row each, in the order in which
 * they are booked: the entry that said it, the grant to be, and whether it fits: an account that cannot hold that many
 * tokens more does not get it.
 * The one definition for reads (tokenbook.due_grants, tokenbook.tokens_due) and for booking (tokenbook.begin_grants).
 * A frozen account gets it too, as it may be given any grant; nothing of it is spent until it is active again.
 * Caller: internal.   Keeps: I7, I11.
 */
create function tokenbook.grants_to_begin(p_user_id uuid, p_at timestamptz)
returns table (scheduled public.token_transactions, granted public.token_balances, is_fitting boolean)
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select due.entry, due.it,
         sum((due.it).tokens_granted) over (order by due.starts_at, due.id)
           <= 9007199254740991 - due.tokens as is_fitting
    from (
      select row(t.*)::public.token_transactions as entry, tokenbook.upcoming_grant(row(t.*)::public.token_transactions) as it, g.starts_at, g.id,
             a.tokens_remaining + a.tokens_reserved + a.tokens_used as tokens
        from tokenbook.upcoming_grants g
        join public.token_accounts a on a.user_id = p_user_id
        join public.token_transactions t on t.user_id = p_user_id and t.id = g.transaction_id
       where g.user_id = p_user_id and g.starts_at <= p_at) due -- @begins-at-its-moment
   order by due.starts_at, due.id;
end
$$;
comment on function tokenbook.grants_to_begin is
  'Of grants to come, those whose moment has come by p_at and that are not booked yet: the entry that said it, the grant to be, and whether the account can hold it.';

/*
 * The grant to be that an entry says (terms.upcoming), as it is when it begins: whole, and open.
 * Caller: internal.
 */
create function tokenbook.upcoming_grant(p_entry public.token_transactions)
returns public.token_balances
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
begin
  v_grant := jsonb_populate_record(v_grant, p_entry.terms -> 'upcoming');
  v_grant.user_id := p_entry.user_id;
  v_grant.tokens_remaining := v_grant.tokens_granted;
  v_grant.is_open := true;
  v_grant.metadata := p_entry.metadata;
  return v_grant;
end
$$;
comment on function tokenbook.upcoming_grant is 'The grant to be that an entry says, as it is when it begins.';
