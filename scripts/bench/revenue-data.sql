/*
 * bench.users users who bought something, of bench.entries entries each: 40 of them made by the functions themselves, each
 * a day older than the one before, and the others copies of these. All have bought a pack; every second was also given
 * tokens with a cost basis. Entries stand in the order of their numbers, as in life: a user's are all over the table.
 */
create schema bench;
create function bench.user(p_nth integer) returns uuid language sql immutable as
$$ select md5('buyer ' || p_nth::text)::uuid $$;

select public.set_token_pack('thousand', '{"name": "A thousand", "tokens": 1000, "price_cents": 1999, "lifetime_days": 365}', 'a measurement');
insert into auth.users (id) select bench.user(n) from generate_series(0, current_setting('bench.users')::integer - 1) n;
do $$
declare
  v_user uuid;
  v_gives boolean;
begin
  for nth in 0 .. 39 loop
    v_user := bench.user(nth);
    v_gives := nth % 2 = 1;
    perform public.approve_token_payment(
      v_user, (public.create_token_payment(v_user, p_pack_type => 'thousand') ->> 'payment_id')::uuid, 'a measurement');
    if v_gives then
      perform public.grant_tokens(
        p_user_id => v_user, p_tokens => 100, p_grant_type => 'bonus', p_cost_basis_cents => 770, p_currency => 'eur',
        p_idempotency_key => 'invoice');
    end if;
    perform public.deduct_tokens_with_fifo(v_user, 17 + nth)
       from generate_series(1, current_setting('bench.entries')::integer - case when v_gives then 2 else 1 end);
    perform tokenbook.move_past(v_user, nth * interval '1 day');
  end loop;
end
$$;

do $$
declare
  v_table record;
begin
  set local session_replication_role = replica; -- the copies are as sound as what they are copied from
  for v_table in
    select a.attrelid::regclass as name,
           string_agg(format(case a.attname when 'user_id' then 'bench.user(n)'
                                            when 'actor_id' then 'case when t.actor_id = t.user_id then bench.user(n) else t.actor_id end'
                                            else 't.%I' end, a.attname), ', ' order by a.attnum) as fields,
           case when bool_or(a.attname = 'id' and a.atttypid = 'bigint'::regtype) then 't.id, ' else '' end as first
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid
     where a.attrelid in ('public.token_accounts'::regclass, 'public.token_balances'::regclass, 'public.token_payments'::regclass,
             'public.token_transactions'::regclass, 'tokenbook.sales'::regclass, 'tokenbook.sale_accounts'::regclass)
       and a.attnum > 0 and not a.attisdropped
     group by a.attrelid
  loop
    execute format(
      'insert into %1$s select %2$s from %1$s t '
      'join (select nth, bench.user(nth) as id from generate_series(0, 39) nth) made on made.id = t.user_id '
      'join generate_series(40, %3$s) n on n %% 40 = made.nth order by %4$s n',
      v_table.name, v_table.fields, current_setting('bench.users')::integer - 1, v_table.first);
  end loop;
end
$$;
