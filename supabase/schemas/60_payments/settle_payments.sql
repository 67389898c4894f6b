/*
 * Computes anew what is known of these payments and brings the books to it: those of a customer whose user became
 * known.
 * Caller: internal, holding the locks of these payments.   Locks: the accounts.
 */
create function tokenbook.settle_payments(p_provider text, p_ids text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id text;
begin
  foreach v_id in array p_ids loop
    perform tokenbook.settle_and_describe_payment(
      tokenbook.keep_payment_facts(p_provider, tokenbook.joined_payments(p_provider, array[v_id])), 'service', null);
  end loop;
end
$$;
comment on function tokenbook.settle_payments is
  'Brings the books to what is known of these payments of a provider.';
