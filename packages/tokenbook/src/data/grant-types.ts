import { Failure } from "local-platform/terminal/failure";
import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/**
 * The types that a grant can have.
 *
 * @throws Failure when `wanted` is none of them.
 */
export async function grantTypesWith(client: SqlClient, wanted: string): Promise<ReadonlySet<string>> {
  const [row] = await select<{ types: Record<string, unknown> }>(
    client,
    "select tokenbook.grant_types() as types",
  );
  const types = Object.keys(row!.types);
  if (!types.includes(wanted))
    throw new Failure(`There is no type of grants ${wanted}: ${types.join(", ")}.`);
  return new Set(types);
}
