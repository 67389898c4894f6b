/*
 * Refuses a number of tokens outside 1 to 10^12, NULL included.
 * Caller: internal.   Errors: invalid_amount.
 */
create function tokenbook.check_tokens(p_field text, p_tokens bigint)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_tokens is null or p_tokens not between 1 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount',
      jsonb_build_object('field', p_field, 'rule', 'a whole number from 1 to 1000000000000'));
  end if;
  return true;
end
$$;
comment on function tokenbook.check_tokens is 'Refuses a number of tokens outside 1 to 10^12 with invalid_amount, naming the field.';
