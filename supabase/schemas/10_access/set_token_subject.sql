/*
 * Keeps that a user signs in elsewhere as this subject, which is no uuid: the tokens of it are theirs here from then on.
 * Whose a subject was first stays. p_replace is for a mistake, or where the user has been made anew: from then on the
 * subject is this user's, and what was booked stays with the other one. The same again changes nothing.
 * Caller: service_role.   Locks: the subject.
 * Errors: invalid_user_id, invalid_subject, invalid_reason, user_not_found, unsupported_media_type, invalid_request.
 * Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_subject(
  p_user_id uuid,
  p_issuer text,
  p_subject text,
  p_replace boolean default false,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_former_user_id uuid;
  v_is_replaced boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_user_id is null then
    perform tokenbook.refuse('invalid_user_id', '{"field": "p_user_id", "rule": "not null"}');
  elsif octet_length(p_issuer) > 255 or (p_issuer ~ '^[^[:cntrl:]]+$') is not true then
    perform tokenbook.refuse('invalid_subject', '{"field": "p_issuer", "rule": "1 to 255 bytes, as the tokens'' iss says it"}');
  elsif octet_length(p_subject) > 255 or (p_subject ~ '^[^[:cntrl:]]+$') is not true or tokenbook.is_user_id(p_subject) then
    perform tokenbook.refuse('invalid_subject',
      '{"field": "p_subject", "rule": "1 to 255 bytes, as the tokens'' sub says it, and no uuid: that is its user''s id"}');
  elsif p_replace and p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  if not tokenbook.is_user(p_user_id) then -- @subjects-of-users-only
    perform tokenbook.refuse('user_not_found', '{}');
  end if;

  perform tokenbook.require_here(p_user_id, p_for_write => true);

  -- lock
  insert into tokenbook.subjects as s (issuer, subject, user_id) values (p_issuer, p_subject, p_user_id)
  on conflict (issuer, subject) do nothing;
  if not found then
    select s.user_id into v_former_user_id
      from tokenbook.subjects s where s.issuer = p_issuer and s.subject = p_subject for update;
  end if;

  -- act, record
  v_is_replaced := (p_replace and v_former_user_id <> p_user_id) is true; -- @subjects-stay
  if v_is_replaced then
    v_at := clock_timestamp();
    update tokenbook.subjects s set user_id = p_user_id, registered_at = v_at
     where s.issuer = p_issuer and s.subject = p_subject;
    perform tokenbook.record_change(
      'set_token_subject', p_user_id, 'service', null, p_reason,
      jsonb_build_object('issuer', p_issuer, 'instead_of', v_former_user_id));
  end if;
  return jsonb_build_object(
    'success', v_is_replaced or coalesce(v_former_user_id, p_user_id) = p_user_id,
    'user_id', case when v_is_replaced then p_user_id else coalesce(v_former_user_id, p_user_id) end,
    'replayed', v_former_user_id is not null and not v_is_replaced);
end
$$;
comment on function tokenbook.set_token_subject is
  'Keeps that a user signs in elsewhere (Clerk, Auth0, Firebase) as a subject that is no uuid: p_issuer and p_subject as iss and sub of the tokens say them. For the server. Whose a subject was first stays, unless p_replace, with a p_reason, puts a mistake right: what was booked stays with whom it was booked to. Returns {success (false: the subject is another user''s), user_id (whose it is), replayed}. Errors: invalid_user_id, invalid_subject, invalid_reason, user_not_found.';
