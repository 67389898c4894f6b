/*
 * Makes a code that gives p_tokens to each user who redeems it. The code is in the answer and nowhere else: only a digest
 * is stored, which cannot be reversed. A code that is made here has 100 random bits. One that a person has chosen
 * (p_code) can be found by trying words: its limits protect it, not its digest.
 * Caller: an admin, service_role.   Locks: nothing.
 * Returns {success, code_id, code, name, tokens, grant_type, lifetime_days, max_redemptions, max_per_user, valid_from,
 * valid_until}.
 * Errors: not_authenticated, forbidden, invalid_amount, invalid_grant_type, invalid_code, code_taken.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.create_token_code(
  p_tokens bigint,
  p_name text,
  p_max_redemptions integer default 1,
  p_max_per_user integer default 1,
  p_valid_until timestamptz default null,
  p_valid_from timestamptz default null,
  p_lifetime_days integer default null,
  p_grant_type text default 'bonus',
  p_code text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_shown text;
  v_code tokenbook.codes;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_tokens('p_tokens', p_tokens);
  if p_grant_type in ('trial', 'admin') or tokenbook.grant_type_terms(p_grant_type) is null then
    perform tokenbook.refuse('invalid_grant_type', jsonb_build_object(
      'field', 'p_grant_type', 'rule', tokenbook.say_one_of(tokenbook.grant_types() - array['trial', 'admin'])));
  elsif length(p_name) > 100 or (p_name ~ '[^[:space:]]') is not true then
    perform tokenbook.refuse('invalid_code', '{"field": "p_name", "rule": "1 to 100 characters, not all blank"}');
  elsif (p_max_redemptions between 1 and 1000000000) is not true then
    perform tokenbook.refuse('invalid_code', '{"field": "p_max_redemptions", "rule": "1 to 1000000000"}');
  elsif (p_max_per_user between 1 and p_max_redemptions) is not true then
    perform tokenbook.refuse('invalid_code', '{"field": "p_max_per_user", "rule": "1 to p_max_redemptions"}');
  elsif p_lifetime_days not between 1 and 36500 then
    perform tokenbook.refuse('invalid_code', '{"field": "p_lifetime_days", "rule": "1 to 36500"}');
  elsif not isfinite(p_valid_from) then
    perform tokenbook.refuse('invalid_code', '{"field": "p_valid_from", "rule": "a finite moment, or left out: now"}');
  elsif not isfinite(p_valid_until) or p_valid_until <= greatest(p_valid_from, clock_timestamp()) then
    perform tokenbook.refuse('invalid_code',
      '{"field": "p_valid_until", "rule": "a finite moment, later than now and than p_valid_from, or left out: none"}');
  end if;
  v_shown := coalesce(p_code, tokenbook.random_code(20));

  -- act
  v_at := clock_timestamp();
  insert into tokenbook.codes as c
    (digest, name, tokens, grant_type, lifetime_days, max_redemptions, max_per_user, valid_from, valid_until)
  values
    (sha256(convert_to(tokenbook.normal_code(v_shown), 'UTF8')),
     p_name, p_tokens, p_grant_type, p_lifetime_days, p_max_redemptions, p_max_per_user,
     coalesce(p_valid_from, v_at), p_valid_until)
  on conflict (digest) do nothing
  returning c.* into v_code;
  if v_code.id is null then
    perform tokenbook.refuse('code_taken', '{}');
  end if;

  -- record
  perform tokenbook.record_change(
    'create_token_code', null, v_actor.actor_role, v_actor.actor_id, null,
    tokenbook.describe_code(v_code) - array['redemptions', 'created_at', 'ended_at', 'state']);
  return jsonb_build_object('success', true, 'code', v_shown)
    || tokenbook.describe_code(v_code) - array['redemptions', 'created_at', 'ended_at', 'state'];
end
$$;
comment on function tokenbook.create_token_code is
  'Makes a code that gives p_tokens (1 to 10^12) to each user who redeems it. For an admin or the server. The code is shown in this answer only; kept is a digest. p_name says what it is for (1 to 100 characters; users do not see it); p_max_redemptions in all (default 1); p_max_per_user (default 1); p_valid_from and p_valid_until; p_lifetime_days of the grants, left out: as their type has it; p_grant_type bonus or another of Lists, but trial and admin; p_code 4 to 64 letters and digits of your choice, which can be guessed; left out: 100 random bits. Returns {success, code_id, code, name, tokens, grant_type, lifetime_days, max_redemptions, max_per_user, valid_from, valid_until}. Errors: invalid_amount, invalid_grant_type, invalid_code, code_taken, forbidden.';
