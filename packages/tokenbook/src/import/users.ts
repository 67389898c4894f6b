/** Whose a row is: an id of auth.users, an address, or what a mapping says of another system's id. */
import { createReadStream } from "node:fs";
import { parse } from "csv-parse";
import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";
import { isUserId } from "../data/users.ts";

/** The user's id in auth.users, or why there is none. `otherId` is the other system's id, where a row has an address too. */
export type Resolve = (user: string, otherId?: string) => { id: string } | { why: string };

export const noSuchUser = "no such user";

export interface Users {
  resolve: Resolve;
  /** What is to be said of the mapping, once all is resolved. */
  notes(): string[];
}

/**
 * Reads everyone once: a look-up a row would be half a million questions.
 *
 * @param mapping a CSV file of two columns, the other system's id and ours (an id or an address).
 */
export async function readUsers(client: pg.Client, mapping: string | undefined): Promise<Users> {
  const ids = new Set<string>();
  const deleted = new Set<string>();
  const deletedFound = new Set<string>();
  const byAddress = new Map<string, string | null>();
  // not in an auth server of another make
  const [has] = await select<{ ends: boolean }>(
    client,
    "select exists (select from pg_attribute a where a.attrelid = 'auth.users'::regclass and a.attname = 'deleted_at') as ends",
  );
  const copy = client.query(
    copyTo(
      `copy (select u.id, lower(u.email::text), ${has!.ends ? "u.deleted_at is not null" : "false"} from auth.users u) to stdout with (format csv)`,
    ),
  );
  for await (const [id, address, isDeleted] of copy.pipe(parse()) as AsyncIterable<
    [string, string, string]
  >) {
    ids.add(id);
    if (isDeleted === "t") deleted.add(id);
    if (address !== "") byAddress.set(address, byAddress.has(address) ? null : id); // null: several have it
  }
  const known: Resolve = (user) => {
    const text = user.toLowerCase();
    const id = isUserId(text) ? (ids.has(text) ? text : undefined) : byAddress.get(text);
    if (id === null) return { why: "an address that several users have" };
    if (id === undefined) return { why: noSuchUser };
    if (deleted.has(id)) deletedFound.add(id);
    return { id };
  };
  const ofDeleted = () =>
    deletedFound.size === 0
      ? []
      : [
          `${deletedFound.size} of the users are deleted (auth.users.deleted_at), and are taken like everybody`,
        ];
  if (mapping === undefined) return { resolve: known, notes: ofDeleted };
  const mapped = await readMapping(mapping);
  const used = new Set<string>();
  return {
    resolve: (user, otherId) => {
      for (const key of [otherId, user]) {
        const ours = key === undefined ? undefined : mapped.get(keyOf(key));
        if (ours === undefined) continue;
        used.add(keyOf(key!));
        return known(ours);
      }
      return known(user);
    },
    notes: () => [
      `${used.size} of ${mapped.size} lines of ${mapping} are of users in the source`,
      ...ofDeleted(),
    ],
  };
}

/** Addresses are the same in upper and lower case; other systems' ids are not. */
const keyOf = (user: string) => (user.includes("@") ? user.toLowerCase() : user);

async function readMapping(path: string): Promise<Map<string, string>> {
  const mapped = new Map<string, string>();
  const parser = parse({ bom: true, trim: true, skip_empty_lines: true });
  const file = createReadStream(path).on("error", (error) => parser.destroy(error));
  try {
    for await (const columns of file.pipe(parser) as AsyncIterable<string[]>) {
      const [theirs = "", ours = ""] = columns;
      if (columns.length !== 2) throw new Failure("a line has two columns: their id, and ours");
      const key = keyOf(theirs);
      if ((mapped.get(key) ?? ours) !== ours) throw new Failure(`${theirs} is in it twice`);
      if (key !== "" && ours !== "") mapped.set(key, ours);
    }
  } catch (error) {
    throw new Failure(`${path} cannot be read as a mapping: ${(error as Error).message}`);
  }
  return mapped;
}
