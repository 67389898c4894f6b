/*
 * One form for all the ways of writing one mailbox: without blanks around it, in Unicode's compatibility form
 * (NFKC: full-width letters, ligatures, letters with a separate accent), in lower case, without what follows a plus
 * sign; at Gmail without dots, and googlemail.com is gmail.com. Lower case is ASCII's: the auth server writes every
 * address in lower case itself, and what more a collation would do depends on the server.
 * A plus sign at the start is part of the name (a phone number). Quotes that a name does not need are no part of it; one
 * that needs them is left as it is, and so is a domain, in letters or in their punycode (xn--): the auth server takes
 * neither. Dots count
 * everywhere but at Gmail. The guide (docs/guides/trials.md) says where each rule is documented.
 * Caller: internal.
 */
create function tokenbook.normal_address(p_email text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blanks constant text := ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13);
  v_address constant text := lower(btrim(normalize(p_email, nfkc), v_blanks) collate "C");
  v_domain text := rtrim(substring(v_address from '@([^@]*)$'), '.');
  v_name text := substring(v_address from '^(.*)@');
begin
  if strpos(v_name, chr(92)) = 0 then -- a backslash means something
    v_name := coalesce(substring(v_name from '^"([^]["(),:;<>@. [:cntrl:]]+([.][^]["(),:;<>@. [:cntrl:]]+)*)"$'), v_name); -- @needless-quotes-go
  end if;
  if v_name is null or v_name like '"%' then
    return v_address;
  end if;
  if strpos(v_name, '+') > 1 then
    v_name := split_part(v_name, '+', 1); -- @tags-are-no-names
  end if;
  if v_domain in ('gmail.com', 'googlemail.com') then
    v_domain := 'gmail.com';
    v_name := replace(v_name, '.', '');
  end if;
  return v_name || '@' || v_domain;
end
$$;
comment on function tokenbook.normal_address is 'An e-mail address in the one form that all ways of writing its mailbox have in common.';
