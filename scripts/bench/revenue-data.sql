/*
 * bench.users users who bought something, of bench.entries entries each: 40 of them made by the functions themselves, each
 * a day older than the one before, and the others copies of these (copies.sql). All have bought a pack; every second was also given
 * tokens with a cost basis. Entries stand in the order of their numbers, as in life: a user's are all over the table.
 */
select public.set_token_pack('thousand', '{"name": "A thousand", "tokens": 1000, "price_cents": 1999, "lifetime_days": 365}', 'a measurement');
insert into auth.users (id) select bench.user(n) from generate_series(0, current_setting('bench.users')::integer - 1) n;
insert into bench.made select n, bench.user(n) from generate_series(0, 39) n;
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

select bench.copy(current_setting('bench.users')::integer, 'public.token_accounts', 'public.token_balances', 'public.token_payments',
  'public.token_transactions', 'tokenbook.sales', 'tokenbook.sale_accounts');
