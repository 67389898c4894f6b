/*
 * How many of a payment's tokens are gone unspent: what ran out of its grants, and what was
 * voided of them. While its grant lives and nothing else was given for it, none; otherwise by the user's ledger.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.lapsed_tokens(p_payment public.token_payments)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_payment.terms ->> 'issue_every' is null and exists (
    select 1 from public.token_balances b
     where b.user_id = p_payment.user_id and b.payment_id = p_payment.id and b.voided_at is null
       and (b.expires_at > clock_timestamp() or b.expires_at is null))
  then
    return 0;
  end if;
  return (
    with given as (
      select b.id from public.token_balances b where b.user_id = p_payment.user_id and b.payment_id = p_payment.id
      union
      select t.grant_ids[1] from public.token_transactions t
       where t.user_id = p_payment.user_id and t.entry_type = 'grant' and t.action_type = 'scheduled_grant'
         and t.terms -> 'slots' ->> 'payment_id' = p_payment.id::text
    )
    select coalesce(sum(case t.entry_type when 'expiry' then -t.tokens else t.debt_change - t.tokens end), 0)::bigint
      from public.token_transactions t
      join given g on g.id = case t.entry_type when 'expiry' then t.grant_ids[1] else (t.terms ->> 'voids')::uuid end
     where t.user_id = p_payment.user_id
       and (t.entry_type = 'expiry' or t.entry_type in ('void', 'clawback') and t.terms ? 'voids'));
end
$$;
comment on function tokenbook.lapsed_tokens is
  'Of a payment''s tokens, how many ran out unspent or were voided.';
