/*
 * What becomes of a use whose model has no price: refused, where the project has chosen that and p_may_refuse; else the
 * project is told, once for each model, by an alert model_unknown without a user (user_id is all zeros). A model that a
 * user's own call names raises no alert: they could name any number of models.
 * Caller: internal, in the transaction of the use.   Errors: unknown_model.
 */
create function tokenbook.meet_unknown_model(p_model text, p_actor_role text, p_may_refuse boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select 1 from public.token_model_prices) then
    return; -- a project that keeps no prices
  end if;
  if p_may_refuse and exists (select 1 from tokenbook.chosen_model_policy c where c.policy = 'refuse') then
    perform tokenbook.refuse('unknown_model', jsonb_build_object('model', p_model));
  end if;
  if p_actor_role <> 'user'
    and not exists (
      select 1 from public.token_alerts t
       where t.user_id = '00000000-0000-0000-0000-000000000000' and t.rule = 'model_unknown'
         and t.epoch = hashtextextended(p_model, 0) and (t.kind = 'recovered') = false)
  then
    begin
      perform tokenbook.tell_project(
        'model_unknown', 'model_unknown', jsonb_build_object('model', p_model), hashtextextended(p_model, 0));
    exception
      when unique_violation then
        null; -- somebody else has told it just now
    end;
  end if;
end
$$;
comment on function tokenbook.meet_unknown_model is
  'Refuses the use of a model that has no price, where the project has chosen that; else writes an alert of the project''s, once for each model.';
