/*
 * Remembers that a user has had a trial, by everything that they are known by now. When two users are known by the same
 * thing, the second transaction waits for the first one's commit, two seconds at most; then busy.
 * Caller: internal, holding the account's lock (but in the trigger on auth.users).   Locks: the digests.
 * Returns by how many things they are known, and how many of these were remembered before.   Errors: busy.
 */
create function tokenbook.remember_trial(
  p_user_id uuid,
  out identifiers integer,
  out known_before integer
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(p_user_id, tokenbook.trial_key());
  v_new integer;
begin
  insert into tokenbook.trials_taken (identifier) -- @first-digest-decides begin
  select i.identifier from unnest(v_identifiers) as i (identifier)
   order by i.identifier
  on conflict do nothing;
  get diagnostics v_new = row_count; -- @first-digest-decides end
  identifiers := cardinality(v_identifiers);
  known_before := identifiers - v_new;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.remember_trial is
  'Remembers that a user has had a trial, by everything that they are known by now; by how many things, and how many of them were remembered before.';
