import type { Row, Statement } from "./database.ts";
import { NotInSchema } from "./errors.ts";
import type { Payload } from "./payload.ts";
import { arrayOf, qualified, quote } from "./read-sql.ts";
import type { Values } from "./read-sql.ts";
import { mostSimilar } from "./similar.ts";

/** A function of schema public, as callers see it. */
export interface ApiFunction {
  name: string;
  /** Input parameters in order; the last `defaults` of them may be left out. */
  parameters: readonly Parameter[];
  defaults: number;
  /** The last parameter takes any number of values. */
  variadic: boolean;
  /** Neither stable nor immutable: it may write. */
  volatile: boolean;
  returnsSet: boolean;
  /** Its result has columns (a composite type, `table (…)`, out parameters). */
  returnsRow: boolean;
  returnsVoid: boolean;
  /** The table or type whose rows it returns. */
  returnsRowOf: string;
}

export interface Parameter {
  name: string;
  type: string;
}

/** Functions by name; overloads share one. */
export type ApiFunctions = ReadonlyMap<string, readonly ApiFunction[]>;

/** Finds the functions of schema public. Run it with an empty search_path, so that types come out qualified. */
export const LIST_FUNCTIONS: Statement = {
  text: `
    select p.proname as name, p.pronargdefaults::text as defaults, (p.provariadic > 0)::text as variadic,
           (p.provolatile = 'v')::text as volatile, p.proretset::text as returns_set,
           (t.typtype = 'c' or coalesce(p.proargmodes && '{o,b,t}', false))::text as returns_row,
           (p.prorettype = 'void'::regtype)::text as returns_void, t.typname as returns_row_of,
           coalesce((
             select json_agg(json_build_object('name', coalesce(p.proargnames[i], ''), 'type', format_type(a.type, null)) order by i)
               from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as a (type, i)
              where p.proargmodes is null or p.proargmodes[i] in ('i', 'b', 'v')
           ), '[]')::text as parameters
      from pg_catalog.pg_proc p
      join pg_catalog.pg_type r on r.oid = p.prorettype
      join pg_catalog.pg_type t on t.oid = coalesce(nullif(r.typbasetype, 0), r.oid)
     where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
       and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
     order by p.proname, p.pronargs, p.oid`,
  values: [],
};

/** Puts the rows of {@link LIST_FUNCTIONS} into a map. */
export function apiFunctionsOf(rows: readonly Row[]): ApiFunctions {
  const functions = new Map<string, ApiFunction[]>();
  for (const row of rows) {
    const parameters = JSON.parse(row["parameters"]!) as Parameter[];
    // Arguments go by name; without one there can be one parameter only.
    if (parameters.length > 1 && parameters.some(({ name }) => name === "")) continue;
    const overloads = functions.get(row["name"]!) ?? [];
    overloads.push({
      name: row["name"]!,
      parameters,
      defaults: Number(row["defaults"]),
      variadic: row["variadic"] === "true",
      volatile: row["volatile"] === "true",
      returnsSet: row["returns_set"] === "true",
      returnsRow: row["returns_row"] === "true",
      returnsVoid: row["returns_void"] === "true",
      returnsRowOf: row["returns_row_of"]!,
    });
    functions.set(row["name"]!, overloads);
  }
  return functions;
}

/** What a function is called with: a body, or the parameters of a GET. */
export type Arguments = Payload;

/**
 * The function that a call means.
 *
 * @param posted whether the arguments came in a body, which may be one unnamed parameter's whole value.
 * @throws NotInSchema when none or more than one fits.
 */
export function chooseFunction(
  functions: ApiFunctions,
  name: string,
  args: Arguments,
  posted: boolean,
): ApiFunction {
  const overloads = functions.get(name) ?? [];
  const given = args.kind === "raw" ? [] : args.columns;
  const byName = overloads.filter(
    (fn) => fits(fn, given) && (args.kind !== "raw" || fn.parameters.length > 0),
  );
  const found = byName.length > 0 || !posted ? byName : overloads.filter((fn) => takesWhole(fn, args));
  const [fn, another] = found;
  if (fn === undefined) throw notFound(functions, name, args, posted);
  if (another !== undefined) throw ambiguous(found);
  return fn;
}

/** All given names are known, and all that have no default are given. */
function fits({ parameters, defaults }: ApiFunction, given: readonly string[]): boolean {
  const names = parameters.map((parameter) => parameter.name);
  const required = names.slice(0, names.length - defaults);
  return (
    given.every((key) => key !== "" && names.includes(key)) && required.every((key) => given.includes(key))
  );
}

function takesWhole({ parameters }: ApiFunction, args: Arguments): boolean {
  const [only, another] = parameters;
  if (only === undefined || another !== undefined || only.name !== "") return false;
  if (args.kind === "json") return !args.isCsv && (only.type === "json" || only.type === "jsonb");
  return args.kind === "raw" && only.type === args.type;
}

/**
 * A function's result as a part of `from`: with its columns, or with the one column `pgrst_scalar`.
 *
 * @param alias what it is called there.
 */
export function callSql(fn: ApiFunction, args: Arguments, alias: string, values: Values): string {
  const { from, call } = calledWith(fn, args, values);
  return fn.returnsRow ? `${from}${call} ${alias}` : `${from}(select ${call} as pgrst_scalar) ${alias}`;
}

function calledWith(fn: ApiFunction, args: Arguments, values: Values): { from: string; call: string } {
  const called = qualified(fn.name);
  const whole = fn.parameters[0];
  if (whole?.name === "" && args.kind !== "form") {
    const value = args.kind === "raw" ? args.value : args.json;
    return { from: "", call: `${called}(${values.add(value)}::${whole.type})` };
  }
  const given = args.kind === "raw" ? [] : args.columns;
  const used = fn.parameters.filter(({ name }) => given.includes(name));
  if (used.length === 0 || args.kind === "raw") return { from: "", call: `${called}()` };
  const named = (value: (parameter: Parameter) => string) => {
    const list = used.map((parameter) => {
      const variadic = fn.variadic && parameter === fn.parameters.at(-1) ? "variadic " : "";
      return `${variadic}${quote(parameter.name)} => ${value(parameter)}`;
    });
    return `${called}(${list.join(", ")})`;
  };
  if (args.kind === "form") {
    const call = named(({ name, type }) => {
      const texts = args.pairs.filter(([key]) => key === name).map(([, text]) => text);
      const isList = fn.variadic && name === fn.parameters.at(-1)!.name;
      return `${values.add(isList ? arrayOf(texts) : texts.at(-1))}::${wide(type)}`;
    });
    return { from: "", call };
  }
  // One JSON text, which Postgres takes apart itself: a number of any size, a time or a nested
  // document arrives as it was sent. Of an array the first object counts.
  const definition = used.map(({ name, type }) => `${quote(name)} ${wide(type)}`).join(", ");
  const json = `${values.add(args.json)}::json`;
  const source = /^\s*\[/.test(args.json)
    ? `(select * from json_to_recordset(${json}) as _ (${definition}) limit 1) as pgrst_body`
    : `json_to_record(${json}) as pgrst_body (${definition})`;
  return { from: `${source}, lateral `, call: named(({ name }) => `pgrst_body.${quote(name)}`) };
}

/** A type whose length without a number would be one. */
function wide(type: string): string {
  return type.replace(/^(bit|character)(?=$|\[)/, "$1 varying");
}

function notFound(functions: ApiFunctions, name: string, args: Arguments, posted: boolean): NotInSchema {
  const raw = args.kind === "raw" ? args.type : undefined;
  const given = args.kind === "raw" ? [] : args.columns;
  const list = given.join(", ");
  const called = raw !== undefined ? "" : given.length > 0 ? `(${list})` : " without parameters";
  const words =
    given.length > 0 ? ` with parameter${given.length > 1 ? "s" : ""} ${list}` : " without parameters";
  const orWhole =
    posted && args.kind === "json" && !args.isCsv ? " or with a single unnamed json/jsonb parameter" : "";
  const searched = raw === undefined ? words + orWhole : ` with a single unnamed ${raw} parameter`;
  const meant = raw === undefined ? hintFor(functions, name, given) : undefined;
  return new NotInSchema(
    404,
    "PGRST202",
    `Could not find the function public.${name}${called} in the schema cache`,
    {
      details: `Searched for the function public.${name}${searched}, but no matches were found in the schema cache.`,
      hint: meant && `Perhaps you meant to call the function public.${meant}`,
    },
  );
}

function hintFor(functions: ApiFunctions, name: string, given: readonly string[]): string | undefined {
  const overloads = functions.get(name);
  if (overloads === undefined) return mostSimilar(name, functions.keys(), 0.75);
  const lists = overloads.map(({ parameters }) => inBrackets(parameters.map((parameter) => parameter.name)));
  const list = mostSimilar(inBrackets(given), lists, 0.33);
  return list && name + list;
}

function inBrackets(names: readonly string[]): string {
  return `(${names.toSorted().join(", ")})`;
}

function ambiguous(found: readonly ApiFunction[]): NotInSchema {
  const between = found.map(
    ({ name, parameters }) => `public.${name}(${parameters.map((p) => `${p.name} => ${p.type}`).join(", ")})`,
  );
  return new NotInSchema(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${between.join(", ")}`,
    {
      hint: "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
    },
  );
}
