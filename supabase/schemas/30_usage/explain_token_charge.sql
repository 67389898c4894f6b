/*
 * Explains a charge: the operation, its ledger entry, the grants that paid and where those came
 * from, with the money that bought the tokens, and what was given back since. Asked by usage or by transaction.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_usage, charge_not_found,
 * user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.explain_token_charge(
  p_user_id uuid default tokenbook.caller_id(),
  p_usage_id uuid default null,
  p_transaction_id bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_usage public.token_usage;
  v_transaction public.token_transactions;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if num_nonnulls(p_usage_id, p_transaction_id) <> 1 then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_usage_id", "rule": "either a usage or a transaction, not both"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);

  if p_usage_id is not null then
    select u.* into v_usage from public.token_usage u
     where u.user_id = p_user_id and u.id = p_usage_id; -- @explains-own-usage
  end if;
  select t.* into v_transaction from public.token_transactions t
   where t.user_id = p_user_id and t.id = coalesce(p_transaction_id, v_usage.transaction_id);
  if p_usage_id is null then
    select u.* into v_usage from public.token_usage u where u.user_id = p_user_id and u.id = v_transaction.usage_id;
  end if;
  if v_usage.id is null and v_transaction.id is null then
    perform tokenbook.refuse('charge_not_found', '{}');
  end if;

  return (
  with worths as (
    select row(b.*)::public.token_balances as it, paid.tokens, paid.nth, worth.currency, worth.payment_id, paid.tokens * worth.cents / worth.tokens as cents
      from unnest(v_transaction.grant_ids, v_transaction.grant_tokens)
           with ordinality as paid (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = paid.grant_id
     cross join lateral tokenbook.worth_of_grant(row(b.*)::public.token_balances) worth
  ), rounded as (
    -- whole cents that add up to the whole: what is left of it goes to the largest remainders
    select w.it, w.tokens, w.nth, w.currency, w.payment_id,
           (floor(w.cents) + (row_number() over (partition by w.currency order by w.cents - floor(w.cents) desc, w.nth)
              <= round(sum(w.cents) over of_currency) - sum(floor(w.cents)) over of_currency)::integer)::bigint as cents -- @cents-add-up
      from worths w
    window of_currency as (partition by w.currency)
  )
  select jsonb_build_object(
    'usage', case when v_usage.id is not null then to_jsonb(v_usage) - 'user_id' end,
    'transaction', case when v_transaction.id is not null then
      to_jsonb(v_transaction) - array['user_id', 'grant_ids', 'grant_tokens', 'request', 'terms'] end,
    'paid_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'grant_id', (r.it).id,
                 'grant_type', (r.it).grant_type,
                 'tokens', r.tokens,
                 'granted_at', (r.it).granted_at,
                 'expires_at', (r.it).expires_at,
                 'payment_id', coalesce((r.it).payment_id, r.payment_id),
                 'subscription_id', (r.it).subscription_id,
                 'cost_basis_cents', r.cents,
                 'currency', r.currency)
               order by r.nth)
        from rounded r), '[]'),
    'cost_basis', coalesce((
      select jsonb_agg(jsonb_build_object('currency', m.currency, 'cents', m.cents) order by m.currency)
        from (select r.currency, sum(r.cents) as cents from rounded r where r.currency is not null group by r.currency) m), '[]'),
    'undone_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'transaction_id', t.id,
                 'entry_type', t.entry_type,
                 'tokens', t.tokens,
                 'debt_change', t.debt_change,
                 'reason', t.reason,
                 'created_at', t.created_at)
               order by t.id)
        from (
          select u.* from public.token_transactions u
           where u.user_id = p_user_id and u.original_id = v_transaction.id and u.entry_type <> 'grant' -- one that was to come has begun
           order by u.id desc
           limit 1000) t), '[]'),
    'tokens_net', v_transaction.tokens - v_transaction.debt_change + coalesce((
      select sum(t.tokens - t.debt_change) from public.token_transactions t
       where t.user_id = p_user_id and t.original_id = v_transaction.id and t.entry_type <> 'grant'), 0)));
end
$$;
comment on function tokenbook.explain_token_charge is
  'Explains a charge, by usage or by transaction. For the user themself (leave p_user_id out), an admin, or the server. Returns {usage (NULL when there was none), transaction (NULL for what happened before the books opened), paid_by: [{grant_id, grant_type, tokens, granted_at, expires_at, payment_id, subscription_id, cost_basis_cents (what the buyer paid for these tokens, as far as that money has not gone back: 0, they were given away; NULL, nobody knows), currency}], cost_basis: [{currency, cents}] (what paid, added up), undone_by: [{transaction_id, entry_type, tokens, debt_change, reason, created_at}] (the newest 1000), tokens_net (signed: the charge, what is owed for it included, less what was given back)}. Errors: invalid_usage, charge_not_found, user_not_found, forbidden.';
