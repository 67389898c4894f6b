/*
 * Fields to be written to the catalogue, and what they call differently: the id that a provider had for it until
 * now joins the former ones, and one that is back leaves them. So a subscription that goes on at an old price
 * still gets what it pays for, without anybody's doing.
 * Caller: internal.
 */
create function tokenbook.keep_former_ids(p_given jsonb, p_row jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_former text;
  v_ids jsonb;
begin
  foreach v_name in array array['stripe_price_id', 'paypal_plan_id'] loop
    v_former := format('former_%ss', v_name);
    v_ids := coalesce(p_given -> v_former, p_row -> v_former);
    if p_given ? v_name and jsonb_typeof(v_ids) = 'array'
      and p_row ->> v_name is distinct from p_given ->> v_name
    then
      v_ids := v_ids - coalesce(p_given ->> v_name, '');
      if p_row ->> v_name is not null then
        v_ids := v_ids - (p_row ->> v_name) || (p_row -> v_name);
      end if;
      p_given := p_given || jsonb_build_object(v_former, v_ids);
    end if;
  end loop;
  return p_given;
end
$$;
comment on function tokenbook.keep_former_ids is
  'Fields to be written to the catalogue, with the ids that they replace among the former ones.';
