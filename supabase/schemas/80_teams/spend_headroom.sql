/*
 * How much may be spent before a cap is met, and which cap that is: the tightest, the one with the
 * least left. NULL where there is none.
 * Caller: internal.   Returns capped_by {scope, window, limit, used, resets_at}.
 */
create function tokenbook.spend_headroom(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz,
  out headroom bigint,
  out capped_by jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select greatest(c.tokens - c.used, 0),
         jsonb_build_object(
           'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
    into headroom, capped_by
    from tokenbook.spend_caps_of(p_account, p_member_id, p_now) as c
   order by c.tokens - c.used, c.resets_at desc
   limit 1;
end
$$;
comment on function tokenbook.spend_headroom is
  'Tokens that may be spent before the tightest cap is met, and that cap; NULL when there is none.';
