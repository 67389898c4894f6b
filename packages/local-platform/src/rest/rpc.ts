import { ROLE_SETTINGS, roleSettingsOf, Unreachable } from "./database.ts";
import type { ApiDatabase, Row } from "./database.ts";
import type { Caller } from "../gateway/caller.ts";
import { isTooDeep, json, readBody } from "../gateway/http.ts";
import { answerDatabaseError, answerUnreachable, isDatabaseError, postgrestError } from "./errors.ts";
import { requestSettings } from "./request-settings.ts";
import type { RoleSettings, Setting } from "./request-settings.ts";
import {
  apiFunctionsOf,
  callWithJson,
  callWithTexts,
  candidates,
  LIST_FUNCTIONS,
  signature,
} from "./functions.ts";
import type { ApiFunction, ApiFunctions } from "./functions.ts";
import type { SchemaCache } from "./schema-cache.ts";

/** What requests need to know of the database. */
export interface ApiSchema {
  functions: ApiFunctions;
  roleSettings: RoleSettings;
}

/** Reads what {@link ApiSchema} holds. */
export async function loadApiSchema(database: ApiDatabase): Promise<ApiSchema> {
  const bare: Setting[] = [["search_path", ""]];
  const [functions, roleSettings] = await Promise.all([
    database.run(bare, LIST_FUNCTIONS, true),
    database.run(bare, ROLE_SETTINGS, true),
  ]);
  return { functions: apiFunctionsOf(functions), roleSettings: roleSettingsOf(roleSettings) };
}

/**
 * Answers /rest/v1/rpc/<name> as PostgREST v14 documents it: named arguments, defaults, overloads,
 * statuses, and a JSON that Postgres itself decodes and encodes.
 *
 * Not served: filters, ordering and paging of what a function returns; functions with one unnamed
 * parameter; answers in CSV or other formats. Asked for, the first is refused, not ignored.
 */
export async function answerRpc(
  request: Request,
  name: string,
  caller: Caller,
  database: ApiDatabase,
  schema: SchemaCache<ApiSchema>,
): Promise<Response> {
  const args = await readArguments(request);
  if (args instanceof Response) return args;
  try {
    let { functions, roleSettings } = await schema.get();
    let found = candidates(functions, name, args.names);
    if (found.length === 0) {
      ({ functions, roleSettings } = await schema.refresh());
      found = candidates(functions, name, args.names);
    }
    const [fn, another] = found;
    if (fn === undefined) return notFound(name, args.names, functions);
    if (another !== undefined) return ambiguous(found);

    const statement =
      args.json === undefined ? callWithTexts(fn, args.texts) : callWithJson(fn, args.names, args.json);
    const settings = requestSettings(caller, request, `/rpc/${name}`, roleSettings);
    const readOnly = request.method !== "POST" || !fn.volatile;
    const [row] = await database.run(settings, statement, readOnly);
    return answer(request, fn, row!);
  } catch (error) {
    if (isDatabaseError(error)) return answerDatabaseError(error, caller.role === "anon");
    if (error instanceof Unreachable) return answerUnreachable(error.busy);
    throw error;
  }
}

type Arguments =
  | { names: string[]; json: string; texts?: undefined }
  | { names: string[]; json?: undefined; texts: Record<string, string> };

/** Query parameters that shape a result and are therefore no arguments. */
const SHAPING = new Set(["select", "order", "limit", "offset", "and", "or", "not.and", "not.or"]);

async function readArguments(request: Request): Promise<Arguments | Response> {
  const { method } = request;
  const query = [...new URL(request.url).searchParams].filter(([name]) => name !== "apikey");
  const reading = method === "GET" || method === "HEAD";
  if (!reading && method !== "POST") {
    return postgrestError(405, "PGRST101", `Cannot use the ${method} method on RPC`);
  }
  const shaping = query.find(([name]) => SHAPING.has(name) || (!reading && name !== "columns"));
  if (shaping !== undefined && shaping[1] !== "*") {
    return postgrestError(400, "PGRST100", `"${shaping[0]}" is not served for functions by the local API`, {
      hint: "Filter and page in the function, or read a table or view.",
    });
  }
  if (reading) {
    const texts = Object.fromEntries(query.filter(([name]) => !SHAPING.has(name)));
    return { names: Object.keys(texts), texts };
  }
  const type = request.headers.get("content-type") ?? "application/json";
  if (!/^application\/(json|vnd\.pgrst\.object\+json)\b/i.test(type)) {
    return postgrestError(415, "PGRST102", `Content-Type not acceptable: ${type}`);
  }
  const text = (await readBody(request)) || "{}";
  if (isTooDeep(text)) {
    return postgrestError(400, "PGRST102", "Empty or invalid json", { details: "nested too deeply" });
  }
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null && !Array.isArray(body)) {
      return { names: Object.keys(body), json: text };
    }
  } catch {
    // Same answer as for a body that is no object.
  }
  return postgrestError(400, "PGRST102", "Empty or invalid json");
}

function answer(request: Request, fn: ApiFunction, row: Row): Response {
  const headers: Record<string, string> = {};
  try {
    for (const one of JSON.parse(row["headers"] ?? "[]") as Record<string, string>[]) {
      for (const [name, value] of Object.entries(one)) headers[name.toLowerCase()] = value;
    }
  } catch {
    return postgrestError(
      500,
      "PGRST111",
      "response.headers guc must be a JSON array composed of objects with a single key and a string value",
    );
  }
  const status = Number(row["status"] ?? (fn.returnsVoid ? 204 : 200));
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    return postgrestError(500, "PGRST112", "response.status guc must be a valid status code");
  }
  if (fn.returnsVoid || request.method === "HEAD" || status === 204) {
    return new Response(null, { status, headers });
  }
  const body = row["body"]!;
  if (fn.returnsSet && request.headers.get("accept")?.includes("application/vnd.pgrst.object+json")) {
    if (row["rows"] !== "1") {
      return postgrestError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
        details: `The result contains ${row["rows"]} rows`,
      });
    }
    // json_agg wraps the one row in brackets and nothing else.
    return json(body.slice(1, -1), status, {
      "content-type": "application/vnd.pgrst.object+json; charset=utf-8",
      ...headers,
    });
  }
  return json(body, status, headers);
}

function notFound(name: string, given: readonly string[], functions: ApiFunctions): Response {
  const list = given.toSorted().join(", ");
  const called = given.length > 0 ? `public.${name}(${list})` : `public.${name} without parameters`;
  const searched = given.length > 0 ? `public.${name} with parameters ${list}` : called;
  const similar = functions.get(name)?.[0];
  return postgrestError(404, "PGRST202", `Could not find the function ${called} in the schema cache`, {
    details: `Searched for the function ${searched}, but no matches were found in the schema cache.`,
    hint: similar && `Perhaps you meant to call the function ${callable(similar)}`,
  });
}

function callable({ name, parameters }: ApiFunction): string {
  return `public.${name}(${parameters.map((parameter) => parameter.name).join(", ")})`;
}

function ambiguous(found: readonly ApiFunction[]): Response {
  const between = found.map(signature).join(", ");
  return postgrestError(300, "PGRST203", `Could not choose the best candidate function between: ${between}`, {
    hint: "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
  });
}
