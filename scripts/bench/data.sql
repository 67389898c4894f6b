/*
 * What is measured beside the books, and the users whose books are measured: bench.users of them with
 * three grants each, more than any run can spend. Written straight into the tables, as the functions
 * would have left them.
 */
create schema bench;

create function bench.user(p_nth integer) returns uuid language sql immutable as
$$ select md5('bench ' || p_nth::text)::uuid $$;

-- floor: one guarded update and one insert, the least that any deduction could do
create table bench.accounts (
  id uuid primary key,
  balance bigint not null
) with (fillfactor = 80);
create table bench.entries (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  amount bigint not null,
  created_at timestamptz not null default now()
);
create function bench.floor(p_user uuid, p_tokens bigint) returns bigint language plpgsql as $$
declare
  v_balance bigint;
begin
  update bench.accounts set balance = balance - p_tokens
   where id = p_user and balance >= p_tokens returning balance into v_balance;
  if v_balance is null then
    return null;
  end if;
  insert into bench.entries (user_id, amount) values (p_user, -p_tokens);
  return v_balance;
end
$$;

-- counter: a column of the profile, as most templates have it; no ledger, no grants, no keys
create table bench.profiles (
  id uuid primary key,
  credits bigint not null
);

-- loop: grants spent row by row, oldest first, as it is usually written first; a sum, an update a
-- grant, a row a grant in a table of allocations, a row in the ledger. No lock, no key, no receipt.
create table bench.grants (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  tokens_remaining bigint not null check (tokens_remaining >= 0),
  granted_at timestamptz not null,
  expires_at timestamptz
);
create index on bench.grants (user_id, granted_at) where tokens_remaining > 0;
create table bench.transactions (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  tokens bigint not null,
  action_type text not null,
  created_at timestamptz not null default now()
);
create index on bench.transactions (user_id, created_at);
create table bench.allocations (
  transaction_id uuid not null references bench.transactions (id),
  grant_id uuid not null references bench.grants (id),
  tokens bigint not null,
  primary key (transaction_id, grant_id)
);
create function bench.loop(p_user uuid, p_tokens bigint, p_action_type text) returns jsonb language plpgsql as $$
declare
  v_needed bigint := p_tokens;
  v_transaction uuid;
  v_from jsonb := '[]';
  v_grant record;
  v_part bigint;
begin
  if (select coalesce(sum(tokens_remaining), 0) from bench.grants
       where user_id = p_user and tokens_remaining > 0 and (expires_at is null or expires_at > now())) < p_tokens
  then
    return jsonb_build_object('success', false);
  end if;
  insert into bench.transactions (user_id, tokens, action_type) values (p_user, -p_tokens, p_action_type)
  returning id into v_transaction;
  for v_grant in
    select id, tokens_remaining from bench.grants
     where user_id = p_user and tokens_remaining > 0 and (expires_at is null or expires_at > now())
     order by granted_at
       for update
  loop
    exit when v_needed <= 0;
    v_part := least(v_grant.tokens_remaining, v_needed);
    update bench.grants set tokens_remaining = tokens_remaining - v_part where id = v_grant.id;
    insert into bench.allocations values (v_transaction, v_grant.id, v_part);
    v_from := v_from || jsonb_build_object('grant_id', v_grant.id, 'deducted', v_part);
    v_needed := v_needed - v_part;
  end loop;
  return jsonb_build_object('success', true, 'tokens_deducted', p_tokens, 'deducted_from', v_from);
end
$$;

/*
 * Users from p_first to p_last with p_open grants that are open and p_past that are not, spent to the
 * last token or, with p_expired, run out. As many ledger rows as grants, and p_spent deductions.
 */
create function bench.add_users(
  p_first integer, p_last integer, p_open integer default 3, p_past integer default 0,
  p_expired boolean default false, p_spent integer default 0
) returns void language plpgsql as $$
begin
  insert into public.token_balances
    (user_id, id, grant_type, tokens_granted, tokens_remaining, is_open, granted_at, expires_at)
  select bench.user(u), md5(u || ' ' || g)::uuid, 'purchase', 1000000000,
         case when g > p_past then 1000000000 else 0 end, g > p_past,
         now() - interval '90 days' + g * interval '1 second',
         case when p_expired and g <= p_past then now() - interval '1 day' end
    from generate_series(p_first, p_last) u cross join generate_series(1, p_past + p_open) g
   order by u, g;
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at)
  select bench.user(u), n, kind, what, tokens, 1000000000, array[md5(u || ' 1')::uuid], array[abs(tokens)],
         'bench', 'service', now() - interval '90 days' + n * interval '1 second'
    from generate_series(p_first, p_last) u
   cross join lateral (
     select g as n, 'grant' as kind, 'token_pack_purchase' as what, 1000000000 as tokens
       from generate_series(1, p_past + p_open) g
     union all
     select p_past + p_open + s, 'deduction', 'chat_conversation', -1 from generate_series(1, p_spent) s) e
   order by n, u;
  insert into public.token_accounts (user_id, tokens_remaining, last_transaction_id)
  select bench.user(u), p_open * 1000000000::bigint, p_past + p_open + p_spent
    from generate_series(p_first, p_last) u;
  insert into bench.accounts select bench.user(u), 1000000000000 from generate_series(p_first, p_last) u;
end
$$;

select bench.add_users(1, current_setting('bench.users')::integer);
select tokenbook.restore_settings(); -- the first transaction would have made them
insert into bench.profiles
select bench.user(u), 1000000000000 from generate_series(1, current_setting('bench.users')::integer) u;
insert into bench.grants (id, user_id, tokens_remaining, granted_at) -- the same ids each time: where index pages are full is chance else
select md5(u || ' ' || g)::uuid, bench.user(u), 1000000000, now() - interval '90 days' + g * interval '1 second'
  from generate_series(1, current_setting('bench.users')::integer) u cross join generate_series(1, 3) g;

grant usage on schema bench to service_role;
grant all on all tables in schema bench to service_role;
