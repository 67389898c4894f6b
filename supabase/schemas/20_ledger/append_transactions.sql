/*
 * Appends transactions to the ledger: the one INSERT into it, which a lint proves, but for the copies that
 * tokenbook.spend_tokens and settle_hold have for speed (decision 34). Takes complete rows, and refuses one that breaks a rule of its kind
 * (tokenbook.broken_transaction_rule): the caller has locked their accounts, numbered them, and changes grants and
 * totals in the same transaction.
 * Caller: internal.   Keeps: I3.
 */
create function tokenbook.append_transactions(p_transactions public.token_transactions[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions := p_transactions[1];
  v_broken_rule text;
begin
  if cardinality(p_transactions) > 1 then -- one is asked as a value, at a third of what a query takes
    select t.* into v_entry
      from unnest(p_transactions) as t
     where tokenbook.broken_transaction_rule(t) is not null
     limit 1;
  end if;
  v_broken_rule := case when v_entry.entry_type is not null then tokenbook.broken_transaction_rule(v_entry) end;
  if v_broken_rule is not null then
    perform tokenbook.refuse_row('token_transactions', v_broken_rule, to_jsonb(v_entry));
  end if;
  insert into public.token_transactions select t.* from unnest(p_transactions) as t;
end
$$;
comment on function tokenbook.append_transactions is
  'Appends complete transactions to the ledger; the caller has locked their accounts and changes grants and totals with them.';
