/** Whose a row is: an id of auth.users, an address, or what a mapping says of another system's id. */
import { createReadStream } from "node:fs";
import { parse } from "csv-parse";
import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { Failure } from "local-platform/terminal/failure";
import { isUserId } from "../data/users.ts";

/**
 * Reads everyone once: a look-up a row would be half a million questions.
 *
 * @param mapping a CSV file of two columns, the other system's id and ours (an id or an address).
 */
export async function readUsers(
  client: pg.Client,
  mapping: string | undefined,
): Promise<(user: string) => string | undefined> {
  const ids = new Set<string>();
  const byAddress = new Map<string, string | null>();
  const copy = client.query(
    copyTo("copy (select id, lower(email::text) from auth.users) to stdout with (format csv)"),
  );
  for await (const [id, address] of copy.pipe(parse()) as AsyncIterable<[string, string]>) {
    ids.add(id);
    if (address !== "") byAddress.set(address, byAddress.has(address) ? null : id); // null: several have it
  }
  const known = (user: string): string | undefined => {
    const text = user.toLowerCase();
    if (isUserId(text)) return ids.has(text) ? text : undefined;
    return byAddress.get(text) ?? undefined;
  };
  if (mapping === undefined) return known;
  const mapped = new Map<string, string>();
  const parser = parse({ bom: true, trim: true });
  const file = createReadStream(mapping).on("error", (error) => parser.destroy(error));
  try {
    for await (const [theirs, ours] of file.pipe(parser) as AsyncIterable<[string, string?]>) {
      if (ours !== undefined) mapped.set(theirs, ours);
    }
  } catch (error) {
    throw new Failure(`${mapping} cannot be read as a mapping: ${(error as Error).message}`);
  }
  return (user) => known(mapped.get(user) ?? user);
}
