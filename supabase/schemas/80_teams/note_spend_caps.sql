/*
 * Keep on the account, and in the project's settings, whether there are caps: a deduction reads both anyway
 * (tokenbook.spend_tokens). Triggers, so that this holds for every write of the caps, also from the SQL editor.
 * Caller: triggers, of token_spend_caps for each row, and of token_default_spend_caps for each statement.
 * Locks: the account; the settings.   Errors: busy, account_lost.   Keeps: I3.
 */
create function tokenbook.note_spend_caps()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
begin
  if current_setting('tokenbook.moving_books', true) = 'yes' then -- @caps-leave-with-books: the account goes, too
    return null;
  end if;
  foreach v_user_id in array array_remove(array[old.user_id, nullif(new.user_id, old.user_id)], null) loop
    perform tokenbook.lock_account(v_user_id, p_create => v_user_id = new.user_id);
    update public.token_accounts a
       set has_caps = exists (select 1 from public.token_spend_caps c where c.user_id = v_user_id) -- @caps-are-noted
     where a.user_id = v_user_id;
  end loop;
  return null;
end
$$;
comment on function tokenbook.note_spend_caps is
  'Trigger: keeps beside the account whether its user has caps of their own.';

create function tokenbook.note_common_spend_caps()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.lock_settings();
  update tokenbook.project_settings r
     set has_common_caps = exists (select 1 from public.token_default_spend_caps) -- @common-caps-are-noted
   where r.is_current;
  return null;
end
$$;
comment on function tokenbook.note_common_spend_caps is
  'Trigger: keeps beside the project''s settings whether there are caps of plans or of everyone.';

create trigger token_spend_caps_are_noted
  after insert or delete or update of user_id on public.token_spend_caps
  for each row execute function tokenbook.note_spend_caps();
create trigger token_default_spend_caps_are_noted
  after insert or delete or truncate on public.token_default_spend_caps
  for each statement execute function tokenbook.note_common_spend_caps();
