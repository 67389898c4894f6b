import type { Caller } from "../gateway/caller.ts";
import type { ApiDatabase } from "./database.ts";
import { Unreachable } from "./database.ts";
import { answerDatabaseError, answerUnreachable, isDatabaseError, refuse } from "./errors.ts";
import { answerRpc } from "./rpc.ts";
import type { ApiSchema } from "./schema.ts";
import type { SchemaCache } from "./schema-cache.ts";
import { answerTable } from "./tables.ts";

/** What requests to /rest/v1 are answered with. */
export interface Rest {
  database: ApiDatabase;
  schema: SchemaCache<ApiSchema>;
  /** No answer has more rows, whatever is asked for. */
  maxRows: number;
}

/**
 * Answers /rest/v1/<table or view> and /rest/v1/rpc/<function>.
 *
 * @throws Refusal with what is wrong with the request.
 */
export async function answerRest(request: Request, caller: Caller, rest: Rest): Promise<Response> {
  const url = new URL(request.url);
  const [name, below, another] = url.pathname.slice("/rest/v1/".length).split("/").map(decoded);
  const isFunction = name === "rpc" && below !== undefined;
  if (name === "") return refuse(404, "PGRST126", "Root endpoint metadata is disabled");
  if (another !== undefined || (below !== undefined && !isFunction)) {
    return refuse(404, "PGRST125", "Invalid path specified in request URL");
  }
  checkProfile(request);
  try {
    return isFunction
      ? await answerRpc(request, url, below, caller, rest)
      : await answerTable(request, url, name!, caller, rest);
  } catch (error) {
    if (isDatabaseError(error)) return answerDatabaseError(error, caller.role === "anon");
    if (error instanceof Unreachable) return answerUnreachable(error.busy);
    throw error;
  }
}

/** Only schema public is served. */
function checkProfile({ headers, method }: Request): void {
  const isWrite = ["POST", "PUT", "PATCH", "DELETE"].includes(method);
  const profile = headers.get(isWrite ? "content-profile" : "accept-profile");
  if (profile === null || profile === "public") return;
  refuse(406, "PGRST106", `Invalid schema: ${profile}`, {
    hint: "Only the following schemas are exposed: public",
  });
}

/** A part of a path. Bytes that are no UTF-8 become replacement characters, which no name has. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part.replace(/%[0-9a-fA-F]{2}/g, "\uFFFD");
  }
}
