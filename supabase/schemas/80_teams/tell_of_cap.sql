/*
 * Writes a webhook when a cap is reached: nothing is left of it, or a deduction wanted more than was left. Once for
 * each cap and window, and again when the cap was changed. p_capped_by is the cap as it was before that spending.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.tell_of_cap(
  p_user_id uuid,
  p_member_id uuid,
  p_tokens bigint,
  p_at timestamptz,
  p_capped_by jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.write_webhook(
    'token_cap.reached', p_user_id, p_at,
    p_capped_by || jsonb_build_object('tokens', p_tokens, 'member_id', p_member_id),
    p_once_as => format( -- @caps-told-once
      'cap_%s_%s_%s_%s_%s',
      case when p_capped_by ->> 'scope' = 'member' then p_member_id else p_user_id end,
      p_capped_by ->> 'scope', p_capped_by ->> 'window', p_capped_by ->> 'limit',
      extract(epoch from (p_capped_by ->> 'resets_at')::timestamptz)::bigint));
end
$$;
comment on function tokenbook.tell_of_cap is
  'Writes an event into the outbox that a spend cap is reached, once for each cap and window.';
