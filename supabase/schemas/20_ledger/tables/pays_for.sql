/*
 * Whether a grant with such a restriction pays for a use: of this action, and of this model. NULL restricts nothing, and
 * an action of NULL is no use (a correction, a debt, what is taken back): every grant pays for that. A use of no model
 * is paid by no grant that names models.
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.pays_for(p_pays_for jsonb, p_action_type text, p_model_used text)
returns boolean
language sql
immutable
security invoker
as $$
  select p_pays_for is null or p_action_type is null
    or (p_pays_for -> 'actions' is null or p_pays_for -> 'actions' ? p_action_type) -- @pays-for-its-actions
       and (p_pays_for -> 'models' is null -- @pays-for-its-models
         or coalesce(p_pays_for -> 'models' ?| (
              array(select left(p_model_used, n) || '*' from generate_series(0, length(p_model_used)) n) || p_model_used), false))
$$;
comment on function tokenbook.pays_for is
  'Whether a grant that pays for {actions, models} only pays for a use of this action and this model.';

/*
 * The rule that such a restriction breaks; NULL, none.
 * Caller: internal.
 */
create function tokenbook.broken_pays_for(p_pays_for jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_field text;
begin
  if p_pays_for is null then
    return null;
  elsif jsonb_typeof(p_pays_for) <> 'object' or p_pays_for = '{}' or p_pays_for - array['actions', 'models'] <> '{}' then
    return 'an object with actions, models or both';
  end if;
  foreach v_field in array array['actions', 'models'] loop
    continue when not p_pays_for ? v_field;
    if jsonb_typeof(p_pays_for -> v_field) <> 'array' then
      return format('%s: an array of 1 to 50 texts, each once', v_field);
    elsif jsonb_array_length(p_pays_for -> v_field) not between 1 and 50
      or exists (select 1 from jsonb_array_elements(p_pays_for -> v_field) e where jsonb_typeof(e) <> 'string')
      or (select count(*) <> count(distinct e) from jsonb_array_elements(p_pays_for -> v_field) e)
    then
      return format('%s: an array of 1 to 50 texts, each once', v_field);
    end if;
  end loop;
  if exists (
    select 1 from jsonb_array_elements_text(p_pays_for -> 'actions') as action
     where octet_length(action) > 64 or action !~ '^[a-z][a-z0-9_]*$' or action = any (tokenbook.reserved_action_types()))
  then
    return 'actions: each 1 to 64 characters of a-z 0-9 _, a letter first, and none of ours (reserved_action_types)';
  elsif exists (
    select 1 from jsonb_array_elements_text(p_pays_for -> 'models') as model
     where octet_length(model) > 200 or model !~ '^[!-)+-~]*[*]?$' or model = '')
  then
    return 'models: each 1 to 200 printable ASCII characters without blanks, * at the end only';
  end if;
  return null;
end
$$;
comment on function tokenbook.broken_pays_for is
  'The rule that what a grant pays for breaks, NULL when none: {actions, models}, either or both, arrays of 1 to 50 texts.';
