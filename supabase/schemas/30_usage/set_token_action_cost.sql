/*
 * Says what an action costs users, from now on: at least and at most so many tokens; a fixed price has both the same.
 * Of one that has a cost, what is left out stays. p_cost NULL: no cost of its own any more, it costs what was counted.
 * What was booked stays; a hold that is open is captured at the cost of that moment. The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_action_type, invalid_action_cost, invalid_reason.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_action_cost(
  p_action_type text,
  p_cost jsonb,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_field text;
  v_rule text;
  v_before public.token_action_costs;
  v_cost public.token_action_costs;
  v_changed text[];
begin
  -- validate
  v_actor := tokenbook.check_offer('invalid_action_cost', 'p_cost', coalesce(p_cost, '{}'), p_reason);
  perform tokenbook.check_action_type(p_action_type);
  select f.key,
         case when f.key not in ('min_tokens', 'max_tokens') then 'a field that can be set'
              else 'a whole number from 0 to 1000000000000' end
    into v_field, v_rule
    from jsonb_each(p_cost) f
   where f.key not in ('min_tokens', 'max_tokens')
      or case jsonb_typeof(f.value) when 'number' then f.value::numeric not between 0 and 1000000000000 or f.value::numeric % 1 <> 0
                                    else true end
   order by f.key
   limit 1;
  if v_field is null then
    select c.* into v_before from public.token_action_costs c where c.action_type = p_action_type;
    v_cost := v_before;
    v_cost.action_type := p_action_type;
    v_cost.min_tokens := coalesce(trunc((p_cost ->> 'min_tokens')::numeric), v_before.min_tokens); -- 5.0 is 5
    v_cost.max_tokens := coalesce(trunc((p_cost ->> 'max_tokens')::numeric), v_before.max_tokens);
    if p_cost is not null and num_nulls(v_cost.min_tokens, v_cost.max_tokens) > 0 then
      v_field := case when v_cost.min_tokens is null then 'min_tokens' else 'max_tokens' end;
      v_rule := 'given for an action that has no cost';
    elsif v_cost.min_tokens > v_cost.max_tokens then
      v_field := 'max_tokens';
      v_rule := 'at least min_tokens';
    end if;
  end if;
  if v_field is not null then
    perform tokenbook.refuse('invalid_action_cost', jsonb_build_object('field', left(v_field, 64), 'rule', v_rule));
  end if;

  -- act
  if p_cost is null then
    v_cost := null;
    delete from public.token_action_costs c where c.action_type = p_action_type;
  else
    insert into public.token_action_costs as c
    select v_cost.*
    on conflict (action_type) do update set min_tokens = excluded.min_tokens, max_tokens = excluded.max_tokens;
  end if;
  v_changed := tokenbook.changed_fields(to_jsonb(v_before), to_jsonb(v_cost), array['max_tokens', 'min_tokens']);
  if v_changed <> '{}' then
    perform tokenbook.record_change(
      'set_token_action_cost', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'action_type', p_action_type, 'is_new', v_before.action_type is null, 'changed', v_changed,
        'before', case when v_before.action_type is not null then to_jsonb(v_before) - 'action_type' end,
        'after', case when v_cost.action_type is not null then to_jsonb(v_cost) - 'action_type' end));
  end if;
  return jsonb_build_object(
    'success', true,
    'action_type', p_action_type,
    'is_new', v_before.action_type is null and v_cost.action_type is not null,
    'changed', v_changed,
    'cost', case when v_cost.action_type is not null then to_jsonb(v_cost) end);
end
$$;
comment on function tokenbook.set_token_action_cost is
  'Says what an action costs users from now on; what was booked stays. For an admin or the server. p_cost {min_tokens, max_tokens}: the tokens counted, at least and at most so many (whole numbers of 0 to 10^12; a fixed price has both the same); what is left out stays, an action without a cost needs both; NULL: it costs what was counted again. p_reason 1 to 500 characters. The same again changes nothing. list_token_changes has the history. Returns {success, action_type, is_new, changed: [field, …], cost (the row; NULL = none)}. Errors: invalid_action_type, invalid_action_cost, invalid_reason, forbidden.';
