/*
 * Makes a pack, or changes the fields that are given of one that is there. It counts for purchases from now on:
 * what was bought stays as it was given, and payments that wait keep the terms they were asked for at. A former
 * name at Stripe still counts for the pack. The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_pack, invalid_reason.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_pack(
  p_pack_type text,
  p_pack jsonb,
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
  v_pack public.token_packs;
  v_written record;
begin
  v_actor := tokenbook.check_offer('invalid_pack', 'p_pack', p_pack, p_reason);

  select p.* into v_pack from public.token_packs p where p.pack_type = p_pack_type;
  v_written := tokenbook.write_offer(
    'invalid_pack', 'token_packs', 'pack_type', p_pack_type, tokenbook.keep_former_ids(p_pack, to_jsonb(v_pack)),
    case when v_pack.pack_type is not null then to_jsonb(v_pack) end);
  perform tokenbook.check_price_ids('invalid_pack');

  if v_written.changed <> '{}' then
    perform tokenbook.record_change(
      'set_token_pack', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'pack_type', p_pack_type, 'is_new', v_written.before is null, 'changed', v_written.changed,
        'before', (select jsonb_object_agg(c, v_written.before -> c) from unnest(v_written.changed) c
                    where v_written.before is not null),
        'after', (select jsonb_object_agg(c, v_written.after -> c) from unnest(v_written.changed) c)));
  end if;
  return jsonb_build_object(
    'success', true,
    'pack_type', p_pack_type,
    'is_new', v_written.before is null,
    'changed', v_written.changed,
    'pack', v_written.after);
end
$$;
comment on function tokenbook.set_token_pack is
  'Makes a pack, or changes those of its fields that are given. For an admin or the server. p_pack {name, tokens (1 to 10^9), price_cents, lifetime_days (null: for ever), priority, currency, stripe_price_id, is_offered, …}: fields of token_packs by name; a new one needs name, tokens and price_cents. p_reason 1 to 500 characters. It counts for purchases from now on; payments that wait keep the terms they were asked for at. A stripe_price_id that is replaced joins the former ones, which still count for the pack. list_token_changes has the history. Returns {success, pack_type, is_new, changed: [field, …], pack (the row)}. Errors: invalid_pack, invalid_reason, forbidden.';
