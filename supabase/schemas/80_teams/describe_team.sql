/*
 * A payer's members, those of today first: [{member_id, since, until, tokens_used, caps}]; or one.
 * Caller: internal.
 */
create function tokenbook.describe_team(p_user_id uuid, p_member_id uuid default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'member_id', m.member_id, 'since', m.since, 'until', m.until, 'tokens_used', m.tokens_used,
                 'caps', (
                   select coalesce(
                            jsonb_agg(
                              jsonb_build_object(
                                'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
                              order by c.resets_at),
                            '[]')
                     from tokenbook.spend_caps_of(v_account, m.member_id, clock_timestamp()) as c
                    where c.scope = 'member'))
               order by m.until desc nulls first, m.since),
             '[]')
      from public.token_team_members m
     where m.user_id = p_user_id and m.member_id = coalesce(p_member_id, m.member_id));
end
$$;
comment on function tokenbook.describe_team is 'The members of a payer''s team, or one of them, with what each has spent and may spend.';
