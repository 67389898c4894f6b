/*
 * Writes an alert for each grant with tokens left that runs out within the hours that a rule asks for;
 * once for a rule and a grant, whatever becomes of either. Of the 100 that run out first: a user with more of
 * them is warned of the next when one of these is gone (I11).
 * Caller: internal, holding the account's lock.   Returns whether a rule watches at all, and when the
 * next grant is to be warned of.
 */
create function tokenbook.warn_of_expiry(
  p_account public.token_accounts,
  p_at timestamptz,
  out is_watching boolean,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
  v_grant record;
  v_alert public.token_alerts;
begin
  is_watching := false;
  for v_rule in
    select r.rule, r.hours * interval '1 hour' as notice
      from tokenbook.alert_rules_of(p_account.user_id) as r
     where r.kind = 'expiring_soon'
  loop
    is_watching := true;
    for v_grant in
      select soon.*
        from (
          select b.id, b.tokens_remaining, b.expires_at
            from public.token_balances b
           where b.user_id = p_account.user_id and b.is_open
             and b.expires_at > p_at and b.expires_at <= p_at + v_rule.notice
           order by b.expires_at
           limit 100) soon -- @warnings-are-bounded
       where not exists (
         select 1 from public.token_alerts t
          where t.user_id = p_account.user_id and t.rule = v_rule.rule and t.grant_id = soon.id)
       order by soon.expires_at, soon.id
    loop
      v_alert.user_id := p_account.user_id;
      v_alert.kind := 'expiring_soon';
      v_alert.rule := v_rule.rule;
      v_alert.grant_id := v_grant.id;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'grant_id', v_grant.id, 'grant_tokens', v_grant.tokens_remaining, 'expires_at', v_grant.expires_at);
      perform tokenbook.write_alert(v_alert);
    end loop;
    next_at := least(
      next_at,
      (select min(b.expires_at) - v_rule.notice
         from public.token_balances b
        where b.user_id = p_account.user_id and b.is_open and b.expires_at > p_at + v_rule.notice),
      -- the 101st is within the notice already: its turn comes when the first has run out
      (select min(b.expires_at)
         from public.token_balances b
        where b.user_id = p_account.user_id and b.is_open and b.expires_at > p_at
          and exists (
            select 1 from public.token_balances o
             where o.user_id = p_account.user_id and o.is_open
               and o.expires_at > p_at and o.expires_at <= p_at + v_rule.notice
            offset 100)));
  end loop;
end
$$;
comment on function tokenbook.warn_of_expiry is
  'Writes an alert for each grant that is about to run out, once; returns whether a rule watches, and when the next is due.';
