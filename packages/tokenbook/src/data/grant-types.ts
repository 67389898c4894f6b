import { Failure } from "local-platform/terminal/failure";
import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/**
 * The types that a grant can have, and of each whether it has to end.
 *
 * @throws Failure when `wanted` is none of them.
 */
export async function grantTypesWith(
  client: SqlClient,
  wanted: string,
): Promise<ReadonlyMap<string, boolean>> {
  const [row] = await select<{ types: Record<string, { must_end: boolean }> }>(
    client,
    "select tokenbook.grant_types() as types",
  );
  const types = new Map(Object.entries(row!.types).map(([type, { must_end }]) => [type, must_end]));
  if (!types.has(wanted))
    throw new Failure(`There is no type of grants ${wanted}: ${[...types.keys()].join(", ")}.`);
  return types;
}
