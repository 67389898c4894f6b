/*
 * Gives what waited for a customer's user to that user: their payments (p_ids), and what the provider has said of
 * subscriptions of theirs that name no user, one that is past due with its alert.
 * p_actor_role and p_actor_id: who said whose the customer is. p_was_user_id: whose it was until now; what is said of its
 * subscriptions is not said of theirs any more.
 * Caller: internal, holding the locks of the customer and of these payments, when a customer's user became known or
 * payments were left waiting.   Locks: the account.   Keeps: I9 to I12.
 * Returns how many payments wait still, at most 1,000: the same call again gives the next ones.
 */
create function tokenbook.release_waiting(
  p_provider text,
  p_customer_id text,
  p_user_id uuid,
  p_ids text[],
  p_actor_role text,
  p_actor_id uuid,
  p_was_user_id uuid default null
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_late tokenbook.provider_subscriptions;
  v_is_subscribed boolean := false;
begin
  perform tokenbook.settle_payments(p_provider, p_ids, p_actor_role, p_actor_id); -- @waiting-payments-are-settled
  if p_was_user_id is not null then
    perform tokenbook.settle_subscription(p_was_user_id); -- @former-customers-are-settled
  end if;
  for v_late in
    select f.*
      from tokenbook.provider_subscriptions f
     where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
     order by f.occurred_at desc
     limit 20
  loop
    if not v_is_subscribed then
      perform tokenbook.settle_subscription(p_user_id); -- @waiting-subscriptions-are-settled
      v_is_subscribed := true;
    end if;
    if v_late.status = 'past_due' then
      perform tokenbook.tell_of_late_payment(p_user_id, v_late);
    end if;
  end loop;
  return (
    select count(*) from (
      select 1 from tokenbook.provider_payments f
       where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
       limit 1000) f);
end
$$;
comment on function tokenbook.release_waiting is
  'Gives what waited for a customer''s user to that user: payments, and what is known of subscriptions. Returns how many payments wait still.';
