import { postgrestError } from "../rest/errors.ts";
import { answerRoot } from "../rest/openapi.ts";
import { answerOptions } from "../rest/options.ts";
import type { Resource } from "../rest/options.ts";
import { answerResource } from "../rest/rest.ts";
import type { Served } from "../rest/rest.ts";
import { identify, requireApiKey } from "./caller.ts";
import type { Caller } from "./caller.ts";
import { json, Refusal } from "./http.ts";
import type { Keys } from "./keys.ts";
import type { Tokens } from "./tokens.ts";

/** What /rest/v1 is answered with. */
export interface Rest extends Served {
  keys: Keys;
  tokens: Tokens;
}

/** The one schema that is served. */
const SCHEMA = "public";

/**
 * Answers /rest/v1. What PostgREST settles before it looks at a table or a function is settled here, in
 * its order: token, path, schema, method.
 *
 * @param path below /rest/v1, with its slash.
 */
export async function answerRest(request: Request, path: string, rest: Rest): Promise<Response> {
  const keyRole = requireApiKey(request, rest.keys);
  // Since 2026 the gateway shows the description of a project to its secret keys only.
  if (path === "/" && keyRole !== "service_role") {
    return json({ message: "You cannot consume this service" }, 403);
  }
  const caller = await identify(request, keyRole, rest.tokens);
  const resource = resourceAt(path);
  const profile = profileOf(request);
  return finish(await answer(request, resource, caller, rest), profile);
}

async function answer(request: Request, resource: Resource, caller: Caller, rest: Rest): Promise<Response> {
  const { method } = request;
  if (!isServed(resource, method)) {
    return resource.kind === "function"
      ? postgrestError(405, "PGRST101", `Cannot use the ${method} method on RPC`)
      : postgrestError(405, "PGRST117", `Unsupported HTTP method: ${method}`);
  }
  if (method === "OPTIONS") return await answerOptions(resource, rest.database);
  if (resource.kind === "root") return await answerRoot(request, caller, rest.database);
  return await answerResource(request, resource, caller, rest);
}

const METHODS = {
  root: ["GET", "HEAD", "OPTIONS"],
  function: ["GET", "HEAD", "OPTIONS", "POST"],
  table: ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
};

function isServed({ kind }: Resource, method: string): boolean {
  return METHODS[kind].includes(method);
}

function resourceAt(path: string): Resource {
  if (path === "/") return { kind: "root" };
  const [first, second, ...rest] = path.slice(1).split("/").map(decode);
  if (second === undefined) return { kind: "table", name: first! };
  if (first === "rpc" && rest.length === 0) return { kind: "function", name: second };
  throw new Refusal(postgrestError(404, "PGRST125", "Invalid path specified in request URL"));
}

/** What is no UTF-8 becomes U+FFFD and is a name that nothing has; decodeURIComponent would throw. */
function decode(segment: string): string {
  const bytes = segment.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** The schema that the request asks for by name, where it does. */
function profileOf(request: Request): string | undefined {
  const writes = ["POST", "PUT", "PATCH", "DELETE"].includes(request.method);
  const profile = request.headers.get(writes ? "content-profile" : "accept-profile");
  if (profile !== null && profile !== SCHEMA) {
    throw new Refusal(
      postgrestError(406, "PGRST106", `Invalid schema: ${profile}`, {
        hint: `Only the following schemas are exposed: ${SCHEMA}`,
      }),
    );
  }
  return profile ?? undefined;
}

/** Says which schema an answer is from, where it was asked for by name and there is an answer. */
function finish(response: Response, profile: string | undefined): Response {
  const { headers } = response;
  if (profile !== undefined && headers.has("content-type") && !headers.has("proxy-status")) {
    headers.set("content-profile", profile);
  }
  return response;
}
