import type { Row, Statement } from "./database.ts";

/** A function of schema public, as callers see it. */
export interface ApiFunction {
  name: string;
  /** Input parameters in order; the last `defaults` of them may be left out. */
  parameters: { name: string; type: string }[];
  defaults: number;
  /** Neither stable nor immutable: it may write. */
  volatile: boolean;
  returnsSet: boolean;
  /** Its result has columns (a composite type, `table (…)`, out parameters). */
  returnsRow: boolean;
  returnsVoid: boolean;
}

/** Functions by name; overloads share one. */
export type ApiFunctions = ReadonlyMap<string, readonly ApiFunction[]>;

/** Finds the functions of schema public. Run it with an empty search_path, so that types come out qualified. */
export const LIST_FUNCTIONS: Statement = {
  text: `
    select p.proname as name, p.pronargdefaults::text as defaults,
           (p.provolatile = 'v')::text as volatile, p.proretset::text as returns_set,
           (t.typtype = 'c' or p.prorettype = 'record'::regtype
             or coalesce(p.proargmodes && '{o,b,t}', false))::text as returns_row,
           (p.prorettype = 'void'::regtype)::text as returns_void,
           coalesce((
             select json_agg(json_build_object('name', coalesce(p.proargnames[i], ''), 'type', format_type(a.type, null)) order by i)
               from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as a (type, i)
              where p.proargmodes is null or p.proargmodes[i] in ('i', 'b', 'v')
           ), '[]')::text as parameters
      from pg_catalog.pg_proc p
      join pg_catalog.pg_type t on t.oid = p.prorettype
     where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
       and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
     order by p.proname, p.oid`,
  values: [],
};

/** Puts the rows of {@link LIST_FUNCTIONS} into a map. */
export function apiFunctionsOf(rows: readonly Row[]): ApiFunctions {
  const functions = new Map<string, ApiFunction[]>();
  for (const row of rows) {
    const overloads = functions.get(row["name"]!) ?? [];
    overloads.push({
      name: row["name"]!,
      parameters: JSON.parse(row["parameters"]!) as ApiFunction["parameters"],
      defaults: Number(row["defaults"]),
      volatile: row["volatile"] === "true",
      returnsSet: row["returns_set"] === "true",
      returnsRow: row["returns_row"] === "true",
      returnsVoid: row["returns_void"] === "true",
    });
    functions.set(row["name"]!, overloads);
  }
  return functions;
}

/** The overloads that a call with these argument names can mean: all given are known, all required are given. */
export function candidates(
  functions: ApiFunctions,
  name: string,
  given: readonly string[],
): readonly ApiFunction[] {
  return (functions.get(name) ?? []).filter(({ parameters, defaults }) => {
    const names = parameters.map((parameter) => parameter.name);
    const required = names.slice(0, names.length - defaults);
    return given.every((key) => names.includes(key)) && required.every((key) => given.includes(key));
  });
}

/** A function's signature as PostgREST prints it: `public.f(p_a => integer)`. */
export function signature({ name, parameters }: ApiFunction): string {
  return `public.${name}(${parameters.map((p) => `${p.name} => ${p.type}`).join(", ")})`;
}

/**
 * The call with its arguments in one JSON text, which Postgres takes apart itself, so that a number
 * of any size, a timestamp or a nested document arrives as it was sent.
 *
 * @param given the names that the JSON object has.
 * @param body the JSON text as received.
 */
export function callWithJson(fn: ApiFunction, given: readonly string[], body: string): Statement {
  const used = fn.parameters.filter((parameter) => given.includes(parameter.name));
  if (used.length === 0) return select(fn, `${qualified(fn)}()`, "", []);
  const args = used.map(({ name }) => `${quote(name)} => arguments.${quote(name)}`);
  const columns = used.map(({ name, type }) => `${quote(name)} ${type}`);
  const source = `json_to_record($1::text::json) as arguments (${columns.join(", ")}), lateral `;
  return select(fn, `${qualified(fn)}(${args.join(", ")})`, source, [body]);
}

/** The call with its arguments as texts, each in its type's own notation: how GET has them in the query. */
export function callWithTexts(fn: ApiFunction, texts: Readonly<Record<string, string>>): Statement {
  const used = fn.parameters.filter((parameter) => parameter.name in texts);
  const args = used.map(({ name, type }, i) => `${quote(name)} => $${i + 1}::text::${type}`);
  return select(
    fn,
    `${qualified(fn)}(${args.join(", ")})`,
    "",
    used.map(({ name }) => texts[name]),
  );
}

function select(fn: ApiFunction, call: string, source: string, values: unknown[]): Statement {
  // A scalar is taken by its value, a row by its columns.
  const value = fn.returnsRow ? "to_json(result)" : "to_json(result.value)";
  const columns = fn.returnsRow ? "result" : "result (value)";
  const body = fn.returnsVoid
    ? "null"
    : fn.returnsSet
      ? `coalesce(json_agg(${value}), '[]')`
      : `coalesce(json_agg(${value}) -> 0, 'null')`;
  return {
    // The settings are read after the call: they are evaluated above the aggregate.
    text: `select ${body}::text as body, count(*)::text as rows,
                  nullif(current_setting('response.status', true), '') as status,
                  nullif(current_setting('response.headers', true), '') as headers
             from ${source}${call} as ${columns}`,
    values,
  };
}

function qualified({ name }: ApiFunction): string {
  return `public.${quote(name)}`;
}

function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
