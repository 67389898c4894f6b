/*
 * Dates the default plan: given_to_users_since is the moment at which is_default turns true, unless the
 * writer says another, and is cleared when it turns false. A plan that has been in the catalogue for a
 * year is then not given to everybody who signed up in that year.
 * Caller: a trigger on token_plans.
 */
create function tokenbook.date_default_plan()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.is_default then
    new.given_to_users_since := coalesce(new.given_to_users_since, now());
  elsif tg_op = 'UPDATE' and old.is_default and new.given_to_users_since = old.given_to_users_since then
    new.given_to_users_since := null;
  end if;
  return new;
end
$$;
comment on function tokenbook.date_default_plan is
  'Trigger on token_plans: given_to_users_since is when is_default turned true, unless the writer says another.';

create trigger token_plans_date_default_plan
  before insert or update on public.token_plans
  for each row execute function tokenbook.date_default_plan();
