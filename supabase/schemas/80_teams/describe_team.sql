/*
 * A payer's members, those of today first: [{member_id, since, until, tokens_used, caps}]; or one; or
 * p_limit of them after p_after.
 * Caller: internal.
 */
create function tokenbook.describe_team(
  p_user_id uuid,
  p_member_id uuid default null,
  p_limit integer default 1,
  p_after uuid default null
)
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
               order by m.has_left, m.member_id),
             '[]')
      from (
        select t.*, t.until is not null as has_left
          from public.token_team_members t
         where t.user_id = p_user_id and (p_member_id is null or t.member_id = p_member_id)
           and (p_after is null or (t.until is not null, t.member_id) > (
             select l.until is not null, l.member_id
               from public.token_team_members l where l.user_id = p_user_id and l.member_id = p_after))
         order by t.until is not null, t.member_id
         limit p_limit) m);
end
$$;
comment on function tokenbook.describe_team is 'The members of a payer''s team, or one of them, with what each has spent and may spend.';
