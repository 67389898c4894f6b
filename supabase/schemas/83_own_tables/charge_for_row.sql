/*
 * What the trigger tokenbook_charge does, which tokenbook.charge_tokens_on_insert puts on a table of the project's: the row
 * that was inserted is paid for by its user, or refused, and the statement with it. Everything of it is one commit.
 * Its arguments: the action, the tokens, the column that says how many (of both one or none: what the action costs), the
 * column that says who, and those of the primary key, each one an argument.
 *
 * It has no key: the row is one. Whatever undoes the row undoes its entry; of a row that is there a second INSERT fails, or
 * does nothing where it says so (on conflict), and fires no trigger. A key of table and primary key would let
 * a user who deletes a row and inserts it again, any number of times, pay only once.
 * The payer follows the rights: a signed-in user pays for rows of their own, an admin and the server insert rows for
 * any user. A row that the server inserts without a user costs nothing.
 * Caller: the trigger.   Locks: the account, until the commit.
 * Errors: insufficient_balance, spend_cap_reached, and those of authorize and spend_tokens; invalid_amount, invalid_usage,
 * invalid_charged_table (the column of its user is gone).
 */
-- Security definer: the role that inserts the row may not write the books.
create function tokenbook.charge_for_row()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_action_type constant text := tg_argv[0];
  v_row constant jsonb := to_jsonb(new);
  v_user_id constant uuid := v_row ->> tg_argv[3];
  v_tokens bigint;
  v_actor record;
  v_spent record;
  v_available bigint;
  v_cap jsonb;
begin
  -- validate
  if not v_row ? tg_argv[3] then
    perform tokenbook.refuse('invalid_charged_table', jsonb_build_object('field', tg_argv[3], 'rule', 'a column of the table'));
  elsif v_user_id is null and tokenbook.caller_role() = 'service' then
    return null; -- @rows-of-nobody
  end if;
  v_actor := tokenbook.authorize(v_user_id, p_self_may => true); -- @rows-of-ones-own
  if tg_argv[2] <> '' then
    v_tokens := v_row ->> tg_argv[2];
    if (v_tokens between 0 and 1000000000000) is not true then -- @rows-never-give
      perform tokenbook.refuse('invalid_amount',
        jsonb_build_object('field', tg_argv[2], 'rule', 'a whole number from 0 to 1000000000000'));
    end if;
  else
    v_tokens := (tokenbook.measure_usage(
      c_action_type, null, null, null, nullif(tg_argv[1], '')::bigint, null, null, null, null, clock_timestamp())).tokens_used;
    if v_tokens is null then
      perform tokenbook.refuse('invalid_usage', jsonb_build_object(
        'field', 'p_action_type', 'rule', 'an action that has a cost, where neither tokens nor a column say how many'));
    end if;
  end if;
  if v_tokens = 0 then
    return null;
  end if;

  -- act, record
  v_spent := tokenbook.spend_tokens(
    v_user_id, v_tokens, c_action_type, c_action_type, v_actor.actor_role, v_actor.actor_id, null, null,
    jsonb_build_object(
      'table', format('%I.%I', tg_table_schema, tg_table_name),
      'row', (select jsonb_object_agg(k.name, v_row -> k.name) from unnest(tg_argv[4:]) as k (name))));
  if v_spent.is_behind then
    perform tokenbook.refuse('busy', '{}');
  elsif v_spent.shortfall > 0 then -- @rows-are-paid-for
    v_available := v_tokens - v_spent.shortfall;
    v_cap := v_spent.capped_by;
    if v_cap is null then
      perform tokenbook.refuse('insufficient_balance', jsonb_build_object('required', v_tokens, 'available', v_available));
    end if;
    perform tokenbook.refuse('spend_cap_reached',
      jsonb_build_object('required', v_tokens, 'available', v_available)
        || (v_cap - 'resets_at') || jsonb_build_object('resetsAt', v_cap -> 'resets_at'));
  end if;
  return null;
end
$$;
comment on function tokenbook.charge_for_row is
  'What the trigger tokenbook_charge does on a table of the project''s: the row that was inserted is paid for by its user, or the statement fails.';
