/*
 * A code that cannot be guessed: so many characters of 5 bits each, in groups of four. Digits and letters without I, L, O
 * and U, which are taken for others or for words. Out of 244 bits that the operating system has drawn.
 * Caller: internal.
 */
create function tokenbook.random_code(p_characters integer)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_random constant bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
begin
  return (
    select string_agg(
             substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', get_byte(v_random, n) % 32 + 1, 1)
               || case when n % 4 = 3 and n < p_characters - 1 then '-' else '' end,
             '' order by n)
      from generate_series(0, p_characters - 1) as n);
end
$$;
comment on function tokenbook.random_code is 'A random code of so many characters (at most 32), 5 bits each, in groups of four.';
