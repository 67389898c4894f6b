/*
 * Books larger than calls could make them: bench.users users, each with bench.rounds rounds of a grant and bench.uses
 * deductions that use it up; of the last grant a million tokens stay. Every fifth deduction has an idempotency key.
 * Written as the functions would have left them, round by round and step by step over all users, as time would: the
 * entries of one user lie all over the ledger.
 */
create schema if not exists bench;
create or replace function bench.user(p_nth integer) returns uuid language sql immutable as
$$ select md5('bench ' || p_nth::text)::uuid $$;

create or replace function bench.at(p_step integer, p_nth integer) returns timestamptz language sql stable as
$$ select timestamptz '2024-01-01' + p_step * interval '7 hours' + p_nth * interval '1 microsecond' $$;

/* The step of a user: 0 of a round is its grant, the others are deductions of 100. */
create or replace procedure bench.write_step(p_round integer, p_step integer) language plpgsql as $$
declare
  c_users constant integer := current_setting('bench.users');
  c_rounds constant integer := current_setting('bench.rounds');
  c_uses constant integer := current_setting('bench.uses');
  v_step constant integer := p_round * (c_uses + 1) + p_step;
  v_granted constant bigint := c_uses * 100 + case when p_round = c_rounds - 1 then 1000000 else 0 end;
  v_left constant bigint := case when p_round = c_rounds - 1 then 1000000 else 0 end;
begin
  if p_step = 0 then
    with given as (
      insert into public.token_balances (user_id, id, grant_type, tokens_granted, tokens_remaining, granted_at, is_open, created_at)
      select bench.user(n), md5('grant ' || p_round || ' ' || n)::uuid, 'purchase', v_granted, v_left, bench.at(v_step, n), v_left > 0, bench.at(v_step, n)
        from generate_series(1, c_users) n
      returning *)
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at, terms)
    select g.user_id, v_step + 1, 'grant', 'token_pack_purchase', v_granted, v_granted, array[g.id], array[v_granted], 'bench', 'service',
           g.created_at, jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(row(g.*)::public.token_balances)))
      from given g;
  else
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at, idempotency_key, request)
    select bench.user(n), v_step + 1, 'deduction', 'chat_conversation', -100, v_granted - p_step * 100,
           array[md5('grant ' || p_round || ' ' || n)::uuid], array[100], 'chat_conversation', 'service', bench.at(v_step, n),
           case when v_step % 5 = 0 then 'call-' || v_step end,
           case when v_step % 5 = 0 then tokenbook.deduction_request(100, 'chat_conversation') end
      from generate_series(1, c_users) n;
  end if;
end
$$;

create or replace procedure bench.write_accounts() language plpgsql as $$
declare
  c_users constant integer := current_setting('bench.users');
  c_steps constant integer := current_setting('bench.rounds')::integer * (current_setting('bench.uses')::integer + 1);
  c_used constant bigint := current_setting('bench.rounds')::bigint * current_setting('bench.uses')::bigint * 100;
begin
  insert into auth.users (id) select bench.user(n) from generate_series(1, c_users) n; -- a hold wants to see them
  insert into public.token_accounts (user_id, tokens_remaining, tokens_used, last_transaction_id, spent_at, spent_day, spent_week, spent_month)
  select bench.user(n), 1000000, c_used, c_steps, bench.at(c_steps - 1, n), spent.day, spent.week, spent.month
    from generate_series(1, c_users) n
   cross join lateral (
     select 100 * count(*) filter (where s.at >= date_trunc('day', l.at, 'UTC')) as day,
            100 * count(*) filter (where s.at >= date_trunc('week', l.at, 'UTC')) as week,
            100 * count(*) filter (where s.at >= date_trunc('month', l.at, 'UTC')) as month
       from (select bench.at(c_steps - 1, n) as at) l,
            lateral (select bench.at(i, n) as at from generate_series(greatest(0, c_steps - 110), c_steps - 1) i
                      where i % (current_setting('bench.uses')::integer + 1) > 0) s) spent;
end
$$;

grant usage on schema bench to service_role;
