import type { z } from "zod";
import { readJson, readQuery } from "./body.ts";
import type { Context } from "./database.ts";
import { check } from "./fields.ts";
import { idempotencyKey } from "./idempotency-key.ts";
import { Refusal } from "./problem.ts";
import { callSql } from "./sql.ts";

/** Calls one SQL function with the rights of the caller who makes the request. See {@link callSql}. */
export type Sql = <Result>(
  name: Parameters<typeof callSql>[1],
  args: Record<string, unknown>,
) => Promise<Result>;

/** Whether the caller is the server, or their token says that they are an admin. SQL knows if they still are. */
export function mayBeAdmin(context: Context): boolean {
  return context.authMode === "secret" || context.userClaims?.appMetadata?.["role"] === "admin";
}

/** The client with the rights of the caller who makes the request; with the secret key, the server's. */
export function clientOf(context: Context): Context["supabase"] {
  return context.authMode === "secret" ? context.supabaseAdmin : context.supabase;
}

/** What a function takes and who may ask. */
export interface Operation<Input> {
  /** The query of a GET or the body of a POST. Unknown fields are refused if it says so. */
  input: z.ZodType<Input>;
  /**
   * For admins and the server only. SQL refuses everyone else anyway; said here too, so that a
   * stranger with a bad body learns that they are not wanted, and not how to write a better one.
   */
  admin: boolean;
}

/**
 * A handler for `gate`, in the order that docs/errors.md promises: the caller, the
 * arguments, the key; then `act`, which leaves the rest to SQL.
 *
 * @param act returns the body of the answer, or the answer itself when it is no JSON. `replayed` in the
 *   body becomes a header: a replay's body is the one that the first request got.
 */
export function operation<Input extends object>(
  { input: schema, admin }: Operation<Input>,
  act: (input: Input, sql: Sql, context: Context) => Promise<object>,
): (request: Request, context: Context) => Promise<Response> {
  return async (request, context) => {
    if (admin && !mayBeAdmin(context)) throw new Refusal("forbidden");
    const input = await read(request, schema);
    const result = await act(input, (name, args) => callSql(clientOf(context), name, args), context);
    if (result instanceof Response) return result;
    const { replayed, ...body } = result as { replayed?: boolean };
    return Response.json(body, { headers: replayed ? { "idempotency-replayed": "true" } : {} });
  };
}

async function read<Input extends object>(request: Request, schema: z.ZodType<Input>): Promise<Input> {
  if (request.method === "GET") return check(schema, readQuery(request));
  const input = check(schema, await readJson(request)) as Input & { idempotencyKey?: string };
  const key = idempotencyKey(request.headers.get("idempotency-key"), input.idempotencyKey);
  return { ...input, ...(key !== undefined && { idempotencyKey: key }) };
}
