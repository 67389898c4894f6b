/*
 * How far the past of a plan with a schedule was moved back (tokenbook.move_past), so that its slots stay on the days
 * on which they would have been: a month that began on the 28th ends on the 28th, and months differ in length.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.moved_by(p_schedule jsonb)
returns interval
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_schedule ? 'moved' then
    return make_interval(secs => (p_schedule #>> '{moved,seconds}')::double precision);
  end if;
  return '0';
end
$$;
comment on function tokenbook.moved_by is
  'How far the past of a plan with a schedule was moved back; 0 but for test users.';
