/*
 * Mends what the first published version of the clean-up left behind: no grants at all (it looked
 * for the wrong sign), or impossible ones (granted 100000, remaining -363843: all usage subtracted
 * from each grant). See docs/architecture/TOKEN_MIGRATION_HOTFIX.md.
 *
 * Clears only grants that stem from history: written by a migration (created_at differs from
 * granted_at) for a grant transaction of the same user, time and amount. Keeps a copy of each.
 * Grants that the app made since are left alone. Then creates the missing ones: expired 0, active full.
 *
 * Run a second time it finds nothing to clear and nothing to create.
 */

-- where the first version of the clean-up ran, ours has not
alter table public.token_balances add column if not exists legacy_transaction_id text;
alter table public.token_balances add column if not exists created_at timestamptz;

-- Where the clean-up of that day ran, its keys still take grants away with a deleted user, and
-- refuse the grants of one who is gone.
do $$
declare
  v_key record;
begin
  for v_key in
    select c.conname
      from pg_constraint c
     where c.contype = 'f'
       and c.confrelid = 'auth.users'::regclass
       and c.conrelid = 'public.token_balances'::regclass
  loop
    execute format('alter table public.token_balances drop constraint %I', v_key.conname);
  end loop;
end
$$;

do $$
declare
  v_cleared bigint;
  v_impossible bigint;
  v_kept bigint;
begin
  with from_history as (
    delete from public.token_balances b
     where b.legacy_transaction_id is null
       and b.created_at is distinct from b.granted_at
       and (to_jsonb(b) -> 'metadata' ->> 'source') is distinct from 'user_profiles' -- a counter's
       and exists (
         select from public.token_transactions t
          where t.user_id = b.user_id
            and t.created_at = b.granted_at
            and t.tokens_used = b.tokens_granted
            and t.tokens_used > 0
            and (to_jsonb(t) -> 'metadata' ->> 'balance_id') is distinct from b.id::text)
    returning b.*
  ), copies as (
    insert into tokenbook.cleared_token_balances (user_id, grant_row, why)
    select h.user_id, to_jsonb(h), 'written by the first version of the clean-up'
      from from_history h
  )
  select count(*), count(*) filter (where h.tokens_remaining not between 0 and h.tokens_granted)
    into v_cleared, v_impossible
    from from_history h;

  select count(*) into v_kept from public.token_balances b where b.legacy_transaction_id is null;

  perform tokenbook.report('20251114000001_hotfix_token_balances_data', concat_ws(E'\n',
    'Hotfix:',
    format('  - Cleared %s grants of the first version (%s with an impossible balance), copies kept', v_cleared, v_impossible),
    format('  - Left %s grants alone that were made since', v_kept)));
end
$$;

select tokenbook.move_legacy_grants('20251114000001_hotfix_token_balances_data');
