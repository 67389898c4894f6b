import { Unreachable } from "./database.ts";
import type { ApiDatabase, Statement } from "./database.ts";
import { answerDatabaseError, answerUnreachable, isDatabaseError, postgrestError } from "./errors.ts";
import type { Caller } from "../gateway/caller.ts";
import { json } from "../gateway/http.ts";

/**
 * Answers /rest/v1/: an OpenAPI 2.0 document of the tables that the caller has any right to and the
 * functions that they may call, in PostgREST's shape. As there, a table that is shown has all of its columns.
 */
export async function answerRoot(request: Request, caller: Caller, database: ApiDatabase): Promise<Response> {
  const types = (request.headers.get("accept") ?? "*/*").split(",").map((one) => one.split(";")[0]!.trim());
  if (!types.some((type) => ["*/*", "application/json", "application/openapi+json"].includes(type))) {
    return postgrestError(406, "PGRST107", `None of these media types are available: ${types.join(", ")}`);
  }
  try {
    // Types of columns are named with their schema, those of parameters as a request sees them.
    const as = (searchPath: string, statement: Statement) =>
      database.run(
        [
          ["search_path", searchPath],
          ["role", caller.role],
        ],
        statement,
        true,
      );
    const [[tables], [functions]] = await Promise.all([as("", TABLES), as("public, extensions", FUNCTIONS)]);
    const description = describe(
      new URL(request.url).host,
      JSON.parse(tables!["tables"]!) as Table[],
      JSON.parse(functions!["functions"]!) as Routine[],
      tables!["comment"] ?? undefined,
    );
    return json(request.method === "HEAD" ? "" : description, 200, {
      "content-type": "application/openapi+json; charset=utf-8",
    });
  } catch (error) {
    if (isDatabaseError(error)) return answerDatabaseError(error, caller.role === "anon");
    if (error instanceof Unreachable) return answerUnreachable(error.busy);
    throw error;
  }
}

interface Table {
  name: string;
  comment: string | null;
  is_writable: boolean;
  columns: Column[];
}

interface Column {
  name: string;
  comment: string | null;
  type: string;
  default: string | null;
  is_required: boolean;
  is_key: boolean;
  max_length: number | null;
  labels: string[] | null;
  /** Table and column that it refers to, alone. */
  refers_to: [table: string, column: string] | null;
}

interface Routine {
  name: string;
  comment: string | null;
  is_volatile: boolean;
  parameters: { name: string; type: string; is_required: boolean; is_variadic: boolean }[];
}

const TABLES: Statement = {
  text: `
    select obj_description('public'::regnamespace, 'pg_namespace') as comment,
           coalesce(json_agg(json_build_object(
             'name', c.relname,
             'comment', obj_description(c.oid, 'pg_class'),
             'is_writable', c.relkind in ('r', 'p') or (c.relkind in ('v', 'f') and pg_relation_is_updatable(c.oid, true) & 28 > 0),
             'columns', (
               select json_agg(json_build_object(
                        'name', a.attname,
                        'comment', col_description(c.oid, a.attnum),
                        'type', case when t.typtype = 'd' and b.typnamespace = 'pg_catalog'::regnamespace then format_type(b.oid, null)
                                     when t.typnamespace = 'pg_catalog'::regnamespace then format_type(t.oid, null)
                                     else format_type(a.atttypid, a.atttypmod) end,
                        'default', case when a.attidentity = '' and a.attgenerated = ''
                                        then coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) end,
                        'is_required', a.attnotnull or t.typnotnull,
                        'is_key', coalesce(a.attnum = any (k.conkey), false),
                        'max_length', information_schema._pg_char_max_length(
                          information_schema._pg_truetypid(a.*, t.*), information_schema._pg_truetypmod(a.*, t.*)),
                        'labels', (select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = b.oid),
                        'refers_to', (select json_build_array(r.relname, ra.attname)
                                        from pg_constraint f
                                        join pg_class r on r.oid = f.confrelid and r.relnamespace = c.relnamespace
                                        join pg_attribute ra on ra.attrelid = r.oid and ra.attnum = f.confkey[1]
                                       where f.conrelid = c.oid and f.contype = 'f' and f.conkey = array[a.attnum]
                                       order by f.conname limit 1)) order by a.attnum)
                 from pg_attribute a
                 join pg_type t on t.oid = a.atttypid
                 join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
                 left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
                 left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)) order by c.relname), '[]')::text as tables
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p') and not c.relispartition
       and (pg_has_role(c.relowner, 'usage')
         or has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
         or has_any_column_privilege(c.oid, 'select, insert, update, references'))`,
  values: [],
};

const FUNCTIONS: Statement = {
  text: `
    select coalesce(json_agg(json_build_object(
             'name', p.proname,
             'comment', obj_description(p.oid, 'pg_proc'),
             'is_volatile', p.provolatile = 'v',
             'parameters', (
               select coalesce(json_agg(json_build_object(
                        'name', coalesce(a.name, ''), 'type', format_type(a.type, null),
                        'is_required', a.i <= p.pronargs - p.pronargdefaults,
                        'is_variadic', coalesce(a.mode = 'v', false)) order by a.i), '[]')
                 from unnest(p.proargnames, p.proargtypes::oid[], p.proargmodes) with ordinality as a (name, type, mode, i)
                where a.type is not null)) order by p.proname, p.oid), '[]')::text as functions
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
       and has_function_privilege(p.oid, 'execute')`,
  values: [],
};

type Json = Record<string, unknown>;

const OBJECT = ["application/vnd.pgrst.object+json;nulls=stripped", "application/vnd.pgrst.object+json"];

function describe(host: string, tables: Table[], functions: Routine[], comment?: string): Json {
  const { summary: title, description } = split(comment ?? null);
  const types = ["application/json", OBJECT, "text/csv"].flat();
  return {
    swagger: "2.0",
    info: {
      title: title ?? "PostgREST API",
      description: description ?? "This is a dynamic API generated by PostgREST",
      version: "14",
    },
    host,
    basePath: "/rest/v1/",
    schemes: ["http"],
    consumes: types,
    produces: types,
    paths: Object.fromEntries([["/", rootPath()], ...tables.map(tablePath), ...functions.map(functionPath)]),
    definitions: Object.fromEntries(tables.map((table) => [table.name, definition(table)])),
    parameters: Object.assign({}, COMMON_PARAMETERS, ...tables.map(tableParameters)) as Json,
    externalDocs: {
      description: "PostgREST Documentation",
      url: "https://postgrest.org/en/v14/references/api.html",
    },
  };
}

function rootPath(): Json {
  return {
    get: {
      tags: ["Introspection"],
      summary: "OpenAPI description (this document)",
      produces: ["application/openapi+json", "application/json"],
      responses: { 200: { description: "OK" } },
    },
  };
}

function tablePath({ name, comment, is_writable, columns }: Table): [string, Json] {
  const filters = columns.map((column) => `rowFilter.${name}.${column.name}`);
  const operation = (parameters: string[], responses: Json) => ({
    tags: [name],
    ...split(comment),
    parameters: parameters.map((parameter) => ({ $ref: `#/parameters/${parameter}` })),
    responses,
  });
  const schema = { type: "array", items: { $ref: `#/definitions/${name}` } };
  const [ok, none] = [{ description: "OK", schema }, { 204: { description: "No Content" } }];
  const shaping = ["select", "order", "range", "rangeUnit", "offset", "limit", "preferCount"];
  const get = operation(filters.concat(shaping), { 200: ok, 206: { description: "Partial Content" } });
  if (!is_writable) return [`/${name}`, { get }];
  const body = `body.${name}`;
  return [
    `/${name}`,
    {
      get,
      post: operation([body, "select", "preferPost"], { 201: { description: "Created" } }),
      delete: operation(filters.concat("preferReturn"), none),
      patch: operation(filters.concat(body, "preferReturn"), none),
    },
  ];
}

function functionPath({ name, comment, is_volatile, parameters }: Routine): [string, Json] {
  const operation = (its: Json[]) => ({
    tags: [`(rpc) ${name}`],
    ...split(comment),
    produces: ["application/json", OBJECT].flat(),
    parameters: its,
    responses: { 200: { description: "OK" } },
  });
  const schema = {
    type: "object",
    ...given({ description: comment, required: namesOf(parameters.filter((one) => one.is_required)) }),
    properties: Object.fromEntries(parameters.map(({ name: key, type }) => [key, typed(type)])),
  };
  const args = { name: "args", in: "body", required: true, schema };
  const post = operation([args, { $ref: "#/parameters/preferParams" }]);
  if (is_volatile) return [`/rpc/${name}`, { post }];
  const inQuery = parameters.map(({ name: key, type, is_required, is_variadic }) => ({
    name: key,
    in: "query",
    required: is_required,
    ...(is_variadic
      ? { type: "array", collectionFormat: "multi", items: typed(type.slice(0, -2)) }
      : { type: isArray(type) ? "string" : (jsonType(type) ?? "string"), format: formatOf(type) }),
  }));
  return [`/rpc/${name}`, { get: operation(inQuery), post }];
}

function definition({ comment, columns }: Table): Json {
  const required = namesOf(columns.filter((column) => column.is_required));
  const properties = Object.fromEntries(columns.map((column) => [column.name, property(column)]));
  return { type: "object", ...given({ description: comment, required }), properties };
}

function property(column: Column): Json {
  const { comment, type, is_key, refers_to, max_length, labels } = column;
  const notes: string[] = [];
  if (is_key) notes.push("This is a Primary Key.<pk/>");
  if (refers_to !== null) {
    const [table, key] = refers_to;
    notes.push(`This is a Foreign Key to \`${table}.${key}\`.<fk table='${table}' column='${key}'/>`);
  }
  const note = notes.length === 0 ? [] : [["Note:", notes].flat().join("\n")];
  const description = [comment ?? [], note].flat().join("\n\n") || undefined;
  return {
    ...typed(type),
    ...given({ description, default: defaultOf(column), maxLength: max_length, enum: labels }),
  };
}

/** A default is shown when it is a value of JSON; text always is one, even where it is an expression. */
function defaultOf({ type, default: expression }: Column): unknown {
  if (expression === null) return undefined;
  const suffix = `::${type}`;
  const value = expression.endsWith(suffix)
    ? expression.slice(0, -suffix.length).replaceAll(/^'+|'+$/g, "")
    : expression;
  try {
    return JSON.parse(jsonType(type) === "string" ? `"${value}"` : expression);
  } catch {
    return undefined;
  }
}

const COMMON_PARAMETERS = Object.fromEntries([
  ["preferParams", preference()],
  ["preferReturn", preference("return=representation", "return=minimal", "return=none")],
  ["preferCount", preference("count=none")],
  [
    "preferPost",
    preference(
      "return=representation",
      "return=minimal",
      "return=none",
      "resolution=ignore-duplicates",
      "resolution=merge-duplicates",
    ),
  ],
  ["select", text("select", "Filtering Columns")],
  ["on_conflict", text("on_conflict", "On Conflict")],
  ["order", text("order", "Ordering")],
  ["range", text("Range", "Limiting and Pagination", "header")],
  ["rangeUnit", { ...text("Range-Unit", "Limiting and Pagination", "header"), default: "items" }],
  ["offset", text("offset", "Limiting and Pagination")],
  ["limit", text("limit", "Limiting and Pagination")],
]);

function tableParameters({ name, columns }: Table): Json {
  const schema = { $ref: `#/definitions/${name}` };
  const body = { name, description: name, in: "body", required: false, schema };
  const filters = columns.map((column): [string, Json] => [
    `rowFilter.${name}.${column.name}`,
    text(column.name, column.comment),
  ]);
  return { [`body.${name}`]: body, ...Object.fromEntries(filters) };
}

function text(name: string, description: string | null, place = "query"): Json {
  return { name, ...given({ description }), in: place, required: false, type: "string" };
}

function preference(...values: string[]): Json {
  return { ...text("Prefer", "Preference", "header"), ...given({ enum: values }) };
}

function typed(type: string): Json {
  const items = isArray(type) ? { type: jsonType(type.slice(0, -2)) } : undefined;
  return given({ type: jsonType(type), items, format: formatOf(type) });
}

function jsonType(type: string): string | undefined {
  if (type === "json" || type === "jsonb") return undefined;
  if (type === "boolean") return "boolean";
  if (["smallint", "integer", "bigint"].includes(type)) return "integer";
  if (["numeric", "real", "double precision"].includes(type)) return "number";
  return isArray(type) ? "array" : "string";
}

function formatOf(type: string): string {
  if (type === "bigint") return "int64";
  return type === "smallint" || type === "integer" ? "int32" : type;
}

function isArray(type: string): boolean {
  return type.endsWith("[]");
}

/** The first line of a comment is a summary, the rest a description. */
function split(comment: string | null): { summary?: string; description?: string } {
  if (comment === null) return {};
  const [summary, ...rest] = comment.split("\n");
  return given({ summary, description: rest.join("\n").replace(/^\n+/, "") || undefined });
}

function namesOf(things: { name: string }[]): string[] {
  return things.map(({ name }) => name);
}

/** Leaves out what says nothing. */
function given(values: Json): Json {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => {
      return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
    }),
  );
}
