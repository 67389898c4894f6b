/*
 * Computes anew what is known of these payments and brings the books to it: those of a customer whose user became
 * known. p_actor_role and p_actor_id: who said whose the customer is.
 * Caller: internal, holding the locks of these payments.   Locks: the accounts.
 */
create function tokenbook.settle_payments(p_provider text, p_ids text[], p_actor_role text, p_actor_id uuid)
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
      tokenbook.keep_payment_facts(p_provider, tokenbook.joined_payments(p_provider, array[v_id])), p_actor_role, p_actor_id);
  end loop;
end
$$;
comment on function tokenbook.settle_payments is
  'Brings the books to what is known of these payments of a provider.';
