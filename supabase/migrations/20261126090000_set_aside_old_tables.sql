/*
 * Sets the tables of November 2025 aside, so that the books can have their names: they move whole
 * into schema `tokenbook` (old_token_balances, old_token_usage, old_token_transactions,
 * old_user_storage), with their triggers, indexes, extra columns and whatever refers to them. The
 * functions of their time are dropped, whatever their signatures: a second overload would be callable
 * beside the new one.
 *
 * Their rows are copied by 20261126090200_open_the_books.sql, which drops the empty ones. Drop the
 * others when you no longer want them; nothing reads them.
 */

do $$
declare
  v_table text;
  v_function regprocedure;
begin
  foreach v_table in array array['token_balances', 'token_usage', 'token_transactions', 'user_storage'] loop
    execute format('alter table public.%I set schema tokenbook', v_table);
    execute format('alter table tokenbook.%I rename to %I', v_table, 'old_' || v_table);
    execute format('alter table tokenbook.%I enable row level security', 'old_' || v_table); -- as everything in tokenbook
  end loop;

  for v_function in
    select p.oid::regprocedure from pg_proc p
     where p.pronamespace = 'public'::regnamespace
       and p.proname in ('deduct_tokens_with_fifo', 'get_user_token_balance', 'grant_tokens', 'adjust_tokens',
                         'get_token_history', 'expire_old_token_grants', 'get_user_storage_quota')
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

drop function tokenbook.move_legacy_grants(text); -- has served

-- Counted from 1, they would be the numbers of another database's reports, which could not be restored into this one.
alter table tokenbook.migration_reports alter column id drop identity;
alter table tokenbook.migration_reports alter column id
  set default (extract(epoch from clock_timestamp()) * 1000000)::bigint;
