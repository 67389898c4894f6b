import type { Caller } from "../gateway/caller.ts";
import type { ApiDatabase } from "./database.ts";
import { Unreachable } from "./database.ts";
import { answerDatabaseError, answerUnreachable, isDatabaseError, postgrestError } from "./errors.ts";
import type { Resource } from "./options.ts";
import { answerRpc } from "./rpc.ts";
import type { ApiSchema } from "./schema.ts";
import type { SchemaCache } from "./schema-cache.ts";
import { answerTable } from "./tables.ts";

/** What tables and functions are answered with. */
export interface Served {
  database: ApiDatabase;
  schema: SchemaCache<ApiSchema>;
  /** No answer has more rows, whatever is asked for. */
  maxRows: number;
}

/**
 * Answers a table, view or function, whose method has been found right.
 *
 * @throws Refusal with what is wrong with the request.
 */
export async function answerResource(
  request: Request,
  { kind, name }: Resource & { name: string },
  caller: Caller,
  served: Served,
): Promise<Response> {
  try {
    return await (kind === "function" ? answerRpc : answerTable)(request, name, caller, served);
  } catch (error) {
    if (isDatabaseError(error)) return answerDatabaseError(error, caller.role === "anon");
    if (error instanceof Unreachable) return answerUnreachable(error.busy);
    // Thousands of brackets or steps inside one another: the stack has an end.
    if (error instanceof RangeError) {
      return postgrestError(400, "PGRST100", "The request is nested too deeply");
    }
    throw error;
  }
}
