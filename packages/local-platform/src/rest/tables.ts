import { Unreachable } from "./database.ts";
import { askLite, createTableApp, openLite } from "../lite.ts";
import { createSchemaCache } from "./schema-cache.ts";
import type { SchemaCache } from "./schema-cache.ts";
import type { Caller } from "../gateway/caller.ts";
import { isTooDeep, readBody } from "../gateway/http.ts";
import { answerUnreachable, postgrestError } from "./errors.ts";
import { requestSettings } from "./request-settings.ts";
import type { ApiSchema } from "./rpc.ts";

/** Answers /rest/v1/<table>. */
export interface Tables {
  answer(request: Request, caller: Caller): Promise<Response>;
  close(): Promise<void>;
}

export interface TablesOptions {
  /** Connection string of `authenticator`. */
  authenticatorUrl: string;
  /** Connection string of `postgres`, who sees the catalog whole; it runs no request. */
  ownerUrl: string;
  schema: SchemaCache<ApiSchema>;
  /** Changes when tables do; see schema-cache.ts. */
  fingerprint: () => Promise<string>;
  connections: number;
}

/** Serves tables and views through @supabase/lite, patched (lite.ts). */
export function openTables(options: TablesOptions): Tables {
  const { authenticatorUrl, ownerUrl, schema, fingerprint, connections } = options;
  const worker = openLite(authenticatorUrl, connections);
  const owner = openLite(ownerUrl, 1);
  // information_schema shows `authenticator`, who has no rights of its own, no table at all.
  const tables = createSchemaCache(fingerprint, async () => {
    const found = await owner.introspect({ useCache: false });
    // lite reports a failed introspection as an empty database.
    if (found.timezones === undefined) throw new Unreachable("the catalog can't be read");
    return found;
  });
  worker.introspect = () => tables.get();
  const app = createTableApp(worker);

  return {
    async answer(request, caller) {
      const text = request.method === "GET" || request.method === "HEAD" ? "" : await readBody(request);
      if (isTooDeep(text)) {
        return postgrestError(400, "PGRST102", "Empty or invalid json", { details: "nested too deeply" });
      }
      try {
        const { pathname } = new URL(request.url);
        const { roleSettings } = await schema.get();
        const settings = requestSettings(caller, request, pathname.slice("/rest/v1".length), roleSettings);
        const send = () => askLite(app, forLite(request, text), { caller, settings });
        // Before lite asks for it: what fails inside lite is a 500 without a name.
        const before = await tables.get();
        const response = await send();
        if (response.status !== 404) return response;
        // Perhaps the table is younger than the cache.
        return (await tables.refresh()) === before ? response : await send();
      } catch (error) {
        if (error instanceof Unreachable) return answerUnreachable(error.busy);
        throw error;
      }
    },
    async close() {
      await Promise.all([worker.close(), owner.close()]);
    },
  };
}

function forLite(request: Request, body: string): Request {
  const headers = new Headers(request.headers);
  // Its caller is settled; a token that lite can't check would be refused.
  headers.delete("authorization");
  headers.delete("content-length");
  const { method } = request;
  return new Request(request.url, body === "" ? { method, headers } : { method, headers, body });
}
