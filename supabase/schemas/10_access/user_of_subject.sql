/*
 * The user whom the caller's token means, where its subject is no uuid. Takes no argument, so that nobody can ask
 * about others. The claims are signed; nothing in them that users write themselves is looked at.
 * Caller: tokenbook.caller_id.   Errors: subject_not_registered.
 */
-- Security definer: clients may not read the table themselves.
create function tokenbook.user_of_subject()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims constant jsonb := auth.jwt();
  v_user_id constant uuid := (
    select s.user_id from tokenbook.subjects s
     where s.issuer = v_claims ->> 'iss' -- @subjects-of-their-issuer
       and s.subject = v_claims ->> 'sub');
begin
  if v_user_id is null then -- @subjects-are-registered
    perform tokenbook.refuse('subject_not_registered', jsonb_build_object('issuer', v_claims ->> 'iss'));
  end if;
  return v_user_id;
end
$$;
comment on function tokenbook.user_of_subject is
  'The user whom set_token_subject has named for the issuer and the subject of the caller''s token; refuses with subject_not_registered.';
