/** Known-bad variants of the books: each is what a test must be able to see. */
import { readFile } from "node:fs/promises";
import pg from "pg";
import type { Database } from "./database.ts";

/**
 * Puts `tests/proofs/mutants/<name>.sql` into a database of its own; never into one that other tests use.
 *
 * A line of a function that carries a rule ends with an anchor, a comment with the rule's name:
 * `v_now := clock_timestamp(); -- @clock-after-lock`. A mutant names the rule that it breaks, and leaves the
 * rest of the function as it is now:
 *
 * - `select pg_temp.mutate('clock-after-lock', 'v_now := now();')` puts this in the line's place; `''` takes
 *   the line away, and `\&` in the text stands for what the line says, as in regexp_replace.
 * - `select pg_temp.mutate('gone-at-expires-at', '<=', '<')` replaces a part of the line.
 *
 * A rule of several lines has its anchor at the first, `-- @name begin`, and at the last, `-- @name end`. Words
 * may follow: `-- @name: why`. A rule that stands at several places has one anchor at all of them, and the
 * mutant says how many: `p_places => 2`.
 *
 * An anchor that is not there, or not as often, a part that the line does not say, a text that changes nothing
 * or names a variable that the function does not have: each is an error. So a mutant that no longer breaks
 * anything fails instead of passing for one.
 */
export async function applyMutant(db: Database, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: db.url("postgres") });
  await client.connect();
  try {
    await client.query(mutate);
    await client.query(await mutantNamed(name));
  } finally {
    await client.end();
  }
}

/** What a mutant says. */
export function mutantNamed(name: string): Promise<string> {
  return readFile(new URL(`../proofs/mutants/${name}.sql`, import.meta.url), "utf8");
}

/** Makes `pg_temp.mutate`, for the session that runs it. The anchors stay, so that mutants can follow each other. */
export const mutate = String.raw`
create function pg_temp.mutated(p_function text, p_code text, p_from text, p_to text) returns text language plpgsql as $$
declare
  v_found integer := (length(p_code) - length(replace(p_code, p_from, ''))) / length(p_from);
  v_mutated text := case when p_from is null then replace(p_to, '\&', p_code) else replace(p_code, p_from, p_to) end;
  v_unknown text;
begin
  select name into v_unknown
    from (select (regexp_matches(p_to, '\m[vp]_\w+\M(?!\s*=>)', 'g'))[1] as name) named
   where p_function !~ ('\m' || name || '\M')
   limit 1;
  if v_found <> 1 then
    raise exception 'says "%" % times, not once', p_from, v_found;
  elsif v_unknown is not null then
    raise exception 'has no %', v_unknown;
  elsif v_mutated = p_code then
    raise exception 'says "%" already', p_to;
  end if;
  return v_mutated;
end
$$;

create function pg_temp.mutate_anchored(p_anchor text, p_from text, p_to text, p_places integer) returns void language plpgsql as $$
declare
  v_places integer := 0;
  v_definition text;
  v_mutant text[];
  v_line text;
  v_parts text[]; -- indentation, code, begin or end, words
  v_indentation text;
  v_code text;
begin
  for v_definition in
    select pg_get_functiondef(p.oid) from pg_proc p
     where p.pronamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)
       and strpos(p.prosrc, '-- @' || p_anchor) > 0
  loop
    v_mutant := '{}';
    v_code := null;
    foreach v_line in array string_to_array(v_definition, E'\n') loop
      v_parts := regexp_match(v_line, '^( *)(.*) -- @' || p_anchor || '( begin| end)?(:.*)?$');
      if v_parts is null and v_code is null then
        v_mutant := v_mutant || v_line;
      elsif v_parts is null then
        v_code := v_code || E'\n' || v_line;
      elsif v_parts[3] = ' begin' then
        v_indentation := v_parts[1];
        v_code := v_parts[2];
      else
        v_indentation := coalesce(v_indentation, v_parts[1]);
        v_code := coalesce(v_code || E'\n' || v_parts[1], '') || v_parts[2];
        v_code := pg_temp.mutated(v_definition, v_code, p_from, p_to) || ' -- @' || p_anchor;
        if strpos(v_code, E'\n') > 0 then
          v_code := regexp_replace(v_code, '\n', ' -- @' || p_anchor || E' begin\n') || ' end';
        end if;
        v_mutant := v_mutant || (v_indentation || v_code || coalesce(v_parts[4], ''));
        v_indentation := null;
        v_code := null;
        v_places := v_places + 1;
      end if;
    end loop;
    if v_code is not null then
      raise exception 'begins, and does not end';
    end if;
    execute array_to_string(v_mutant, E'\n');
  end loop;
  if v_places <> p_places then
    raise exception 'is there % times, not %', v_places, p_places;
  end if;
exception
  when raise_exception then
    raise exception '@% %', p_anchor, sqlerrm;
end
$$;

create function pg_temp.mutate(p_anchor text, p_text text, p_places integer default 1) returns void
language sql as $$ select pg_temp.mutate_anchored(p_anchor, null, p_text, p_places) $$;
create function pg_temp.mutate(p_anchor text, p_from text, p_to text, p_places integer default 1) returns void
language sql as $$ select pg_temp.mutate_anchored(p_anchor, p_from, p_to, p_places) $$`;
