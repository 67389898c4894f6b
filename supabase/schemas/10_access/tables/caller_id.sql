/*
 * Which user is calling: NULL without a subject. What auth.uid() says, and more: that fails with 22P02 for a
 * subject that is no uuid, as Clerk's, Auth0's and Firebase's are, and in a policy or a default too, where nobody could
 * say why. A uuid is the user's id itself and costs no look-up.
 * The default of every p_user_id, and what the policies of our tables ask.
 * Caller: any signed-in user; reads the settings that PostgREST makes.   Errors: subject_not_registered.
 */
create function tokenbook.caller_id()
returns uuid
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subject constant text := coalesce( -- where Supabase's own looks, in its order
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');
begin
  if tokenbook.is_user_id(v_subject) then
    return v_subject::uuid;
  elsif v_subject <> '' then
    return tokenbook.user_of_subject();
  end if;
  return null;
end
$$;
comment on function tokenbook.caller_id is
  'The user who is calling, as auth.uid() says it; where the token''s subject is no uuid, the user whom set_token_subject has named for it. NULL without a subject.';
