/*
 * A JSON value with every moment in it moved back, written as it was: for what the books keep in JSON themselves. A
 * schedule also keeps how far, and with which move (tokenbook.moved_by, tokenbook.slot_grant_id). What a catalogue or a
 * caller wrote (features, metadata) is no moment of ours.
 * Caller: internal.
 */
create function tokenbook.moved_moments(p_value jsonb, p_by interval, p_move_id uuid)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_text text := p_value #>> '{}';
begin
  case jsonb_typeof(p_value)
    when 'object' then
      return (
        select coalesce(jsonb_object_agg(m.key, case
                 when m.key in ('features', 'metadata') then m.value
                 when m.key = 'schedule' and jsonb_typeof(m.value) = 'object' then
                   m.value || jsonb_build_object('moved', jsonb_build_object(
                     'seconds', coalesce((m.value #>> '{moved,seconds}')::numeric, 0) + extract(epoch from p_by), 'id', p_move_id))
                 else tokenbook.moved_moments(m.value, p_by, p_move_id)
               end), '{}')
          from jsonb_each(p_value) m);
    when 'array' then
      return (
        select coalesce(jsonb_agg(tokenbook.moved_moments(e.value, p_by, p_move_id) order by e.nth), '[]')
          from jsonb_array_elements(p_value) with ordinality as e (value, nth));
    when 'string' then
      if v_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}(:[0-9]{2})?)$' then
        return to_jsonb(v_text::timestamptz - p_by);
      elsif v_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$' then
        return to_jsonb(((v_text::timestamptz - p_by) at time zone 'utc')::text || 'Z');
      end if;
    else
      null;
  end case;
  return p_value;
end
$$;
comment on function tokenbook.moved_moments is
  'A JSON value of the books with every moment in it moved back.';
