/*
 * A project of bench.users users, as an admin of its console would have it. 200 of them are made by the functions
 * themselves, day by day; the others are copies of these. Of a hundred users fifty came and went, thirty come now and
 * then, fifteen often, four daily, and one works with it, as do two members of a team. And one user, heavy, of whom there is no copy,
 * has bench.heavy uses.
 */
select public.set_token_plan('free', '{"name": "Free", "tokens": 20000, "grant_lifetime_days": 365, "is_default": true}', 'a measurement'),
       public.set_token_plan('pro', '{"name": "Pro", "tokens": 400000, "price_cents": 1900, "billing_cycle": "28day", "rank": 1}', 'a measurement'),
       public.set_token_pack('pack', '{"name": "A pack", "tokens": 300000, "price_cents": 900, "lifetime_days": 365}', 'a measurement'),
       public.set_token_model_price('gpt-5-mini', '{"input_cents_per_million": 25, "output_cents_per_million": 200}', 'a measurement'),
       public.set_token_model_price('claude-sonnet-4-5', '{"input_cents_per_million": 300, "output_cents_per_million": 1500}', 'a measurement'),
       public.set_token_webhook_endpoint('app', 'https://example.com/tokens'),
       public.set_token_alert_rule('low', 'dropped', p_threshold_tokens => 5000, p_for_everyone => true);

-- one day of somebody: so many calls of a model, every fourth held first, every ninth failed
create function bench.use(p_user uuid, p_calls integer, p_seed integer) returns void language plpgsql as $$
declare
  c_models constant text[] := array['gpt-5-mini', 'gpt-5-mini', 'claude-sonnet-4-5', 'a model of our own'];
  v_model text;
  v_hold jsonb;
begin
  for v_call in p_seed + 1 .. p_seed + p_calls loop
    v_model := c_models[1 + v_call % 4];
    if v_call % 4 = 0 then
      v_hold := public.reserve_tokens(p_user, 3000, 900, 'chat_conversation', 'hold-' || v_call, p_model_used => v_model);
      if v_hold -> 'success' = 'true' then
        perform public.capture_tokens(p_user, (v_hold ->> 'hold_id')::uuid, p_model_used => v_model, p_input_tokens => 1000 + v_call % 700, p_output_tokens => 300);
      end if;
    else
      perform public.track_token_usage(p_user, case when v_call % 5 = 0 then 'image_generation' else 'chat_conversation' end, v_model,
        p_input_tokens => 600 + v_call * 37 % 1900, p_output_tokens => 200 + v_call * 53 % 900, p_success => v_call % 9 > 0,
        p_on_shortage => 'partial', p_idempotency_key => 'call-' || v_call);
    end if;
  end loop;
end
$$;

create function bench.buy(p_user uuid, p_how integer, p_nth integer) returns void language plpgsql as $$
begin
  if p_how = 0 then
    perform public.approve_token_payment(p_user, (public.create_token_payment(p_user, p_pack_type => 'pack') ->> 'payment_id')::uuid, 'paid by bank');
  elsif p_how = 1 then
    perform public.record_token_payment_event('stripe', 'evt.' || p_user || p_nth, 'paid', 'pi.' || p_user || p_nth, jsonb_build_object(
      'kind', 'paid', 'occurred_at', clock_timestamp(), 'user_id', p_user, 'customer_id', 'cus.' || p_user, 'pack_type', 'pack',
      'quantity', 1, 'amount_cents', 900, 'currency', 'usd'));
  else
    perform public.change_token_plan(p_user, 'pro', 'card', 'invoice-' || p_nth, 'plan-' || p_nth);
  end if;
end
$$;

insert into bench.made select n, bench.user(n) from generate_series(0, 199) n;
insert into auth.users (id, aud, role, email)
select m.id, 'authenticated', 'authenticated', 'user' || m.nth || '@customers-' || m.nth || '.example' from bench.made m;
do $$
declare
  v_user record;
  v_calls integer;
  v_days integer;
begin
  for v_user in select m.nth, m.id, m.nth % 100 as kind from bench.made m order by m.nth loop
    v_calls := case when v_user.kind < 50 then 1 + v_user.kind % 4 when v_user.kind < 80 then 6 when v_user.kind < 95 then 16 when v_user.kind < 99 then 40 else 60 end;
    v_days := case when v_user.kind < 50 then 1 when v_user.kind < 95 then 4 else 12 end; -- on which they come
    if v_user.kind in (97, 98) then
      perform public.add_token_team_member((select m.id from bench.made m where m.nth = v_user.nth - v_user.kind + 96), v_user.id, p_cap_day => 1000000);
    end if;
    for v_day in 1 .. v_days loop
      if v_user.kind >= 50 and v_day % 4 = 2 and v_user.kind not in (97, 98) then
        perform bench.buy(v_user.id, case v_user.kind % 10 when 0 then 0 when 1 then 2 when 2 then 2 else 1 end, v_day);
      end if;
      perform bench.use(v_user.id, v_calls / v_days, v_day * 100);
      if v_day < v_days then
        perform tokenbook.move_past(v_user.id, 80.0 / v_days * interval '1 day' + v_user.nth * interval '7 minutes');
        if v_user.kind in (97, 98) then -- who pays for them had that time too
          perform tokenbook.move_past((select m.id from bench.made m where m.nth = v_user.nth - v_user.kind + 96), interval '1 day');
        end if;
      end if;
    end loop;
    perform tokenbook.move_past(v_user.id, case when v_user.kind < 50 then v_user.nth * 37 % 80 else v_user.nth % 4 end * interval '1 day' + v_user.nth * interval '11 minutes');
    if v_user.kind in (60, 80) then -- asks for more
      perform public.create_token_payment(v_user.id, 'pro');
    elsif v_user.kind in (95, 99) then -- a call that runs
      perform public.reserve_tokens(v_user.id, 4000, 86400, 'agent_run', 'running');
    end if;
  end loop;
end
$$;

-- of a hundred deliveries ninety-nine have arrived
update tokenbook.webhook_deliveries d
   set status = 'delivered', attempts = 1, next_attempt_at = null, settled_at = d.created_at + interval '2 seconds'
 where d.id % 100 > 0;

select bench.copy(current_setting('bench.users')::integer, 'auth.users', 'public.token_accounts', 'public.token_balances',
  'public.token_transactions', 'public.token_usage', 'public.token_holds', 'public.token_payments', 'public.token_alerts',
  'public.token_team_members', 'tokenbook.token_alert_states', 'tokenbook.subscriptions', 'tokenbook.sales',
  'tokenbook.sale_accounts', 'tokenbook.provider_payments', 'tokenbook.provider_customers', 'tokenbook.provider_events',
  'tokenbook.webhook_deliveries', 'tokenbook.changes');

-- two single users: the admin who looks, and the one who uses more than anybody else
insert into auth.users (id, aud, role, email, raw_app_meta_data)
select bench.user(-n), 'authenticated', 'authenticated', case n when 1 then 'admin' when 2 then 'heavy' else 'member' || n end || '@example.com',
       case n when 1 then '{"role": "admin"}'::jsonb else '{}' end
  from generate_series(1, 42) n;
insert into tokenbook.admins (user_id, added_by) values (bench.user(-1), 'a measurement');
do $$
declare
  c_heavy constant uuid := bench.user(-2);
  c_uses constant integer := current_setting('bench.heavy');
begin
  for n in 3 .. 42 loop
    perform public.add_token_team_member(c_heavy, bench.user(-n), p_cap_day => 1000000);
  end loop;
  for n in 1 .. 100 loop
    perform public.grant_tokens(p_user_id => c_heavy, p_tokens => 1000000, p_grant_type => 'purchase', p_idempotency_key => 'grant-' || n,
      p_expires_at => now() + (100 + n) * interval '1 day');
  end loop;
  for v_step in 1 .. 12 loop
    perform bench.buy(c_heavy, case when v_step % 4 = 0 then 2 else 1 end, v_step);
    perform bench.use(c_heavy, c_uses / 12, v_step * c_uses);
    perform bench.use(bench.user(-3 - v_step), 3, v_step);
    perform tokenbook.move_past(c_heavy, interval '5 days');
  end loop;
  for n in 1 .. 60 loop
    perform public.reserve_tokens(c_heavy, 4000, 86400, 'agent_run', 'running-' || n);
  end loop;
end
$$;

-- payments of which nobody knows whose they are, and codes
select count(public.record_token_payment_event('stripe', 'evt.parked' || n, 'paid', 'pi.parked' || n, jsonb_build_object(
         'kind', 'paid', 'occurred_at', clock_timestamp(), 'customer_id', 'cus.parked' || n, 'quantity', 1,
         'amount_cents', 900, 'currency', 'usd', 'pack_type', 'pack')))
  from generate_series(1, 250) n;
select count(public.create_token_code(1000, 'campaign ' || n, 100)) from generate_series(1, 2000) n;
