/*
 * A code as admins are told of it: all but its digest.
 * Caller: internal.
 */
create function tokenbook.describe_code(p_code tokenbook.codes)
returns jsonb
language plpgsql
volatile -- by the clock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'code_id', p_code.id,
    'name', p_code.name,
    'state', tokenbook.state_of_code(p_code),
    'tokens', p_code.tokens,
    'grant_type', p_code.grant_type,
    'lifetime_days', p_code.lifetime_days,
    'max_redemptions', p_code.max_redemptions,
    'max_per_user', p_code.max_per_user,
    'redemptions', p_code.redemptions,
    'valid_from', p_code.valid_from,
    'valid_until', p_code.valid_until,
    'ended_at', p_code.ended_at,
    'created_at', p_code.created_at);
end
$$;
comment on function tokenbook.describe_code is 'A code as admins are told of it, without its digest.';

/*
 * Whether a code can be redeemed now, in one word: open, ended (by somebody), used_up, expired or waiting.
 * Caller: internal, holding the code's lock where it is to stay true.
 */
create function tokenbook.state_of_code(p_code tokenbook.codes)
returns text
language plpgsql
volatile -- by the clock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_code.ended_at is not null then 'ended' -- @ended-codes-give-nothing
    when p_code.redemptions >= p_code.max_redemptions then 'used_up' -- @used-up-gives-nothing
    when p_code.valid_until <= clock_timestamp() then 'expired' -- @expired-codes-give-nothing
    when p_code.valid_from > clock_timestamp() then 'waiting' -- @codes-have-a-beginning
    else 'open'
  end;
end
$$;
comment on function tokenbook.state_of_code is 'Whether a code can be redeemed now: open, ended, used_up, expired or waiting.';
