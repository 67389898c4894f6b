/*
 * Appends transactions to the ledger: the one INSERT into it, which a lint proves, but for the copy that
 * tokenbook.spend_tokens has for speed. Takes complete rows, and refuses one that breaks a rule of its kind
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
  v_broken record;
begin
  select t.*, tokenbook.broken_transaction_rule(t) as rule into v_broken
    from unnest(p_transactions) as t
   where tokenbook.broken_transaction_rule(t) is not null
   limit 1;
  if found then
    perform tokenbook.refuse_row('token_transactions', v_broken.rule, to_jsonb(v_broken) - 'rule');
  end if;
  insert into public.token_transactions select t.* from unnest(p_transactions) as t;
end
$$;
comment on function tokenbook.append_transactions is
  'Appends complete transactions to the ledger; the caller has locked their accounts and changes grants and totals with them.';
