import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { assetPath } from "../assets.ts";
import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";
import type { Breach, Piece } from "./verification.ts";

/** A page of `checkpoint_token_ledger`. */
export interface CheckpointPage {
  lines: string[];
  /** Of its lines and all before them: on the last page that of the checkpoint. */
  digest: string;
  users: number;
  /** How many entries its lines stand for. */
  entries: number;
  /** How many of them no checkpoint had read. */
  entries_read: number;
  /** The arguments of the next page; null on the last one. */
  next: { p_after: string | null; p_digest: string } | null;
}

/** Makes a checkpoint page by page: of one user, or of everyone. */
export async function* takeCheckpoint(
  client: SqlClient,
  userId: string | null,
  entriesAPage: number,
): AsyncGenerator<CheckpointPage, void, undefined> {
  let next: CheckpointPage["next"] = { p_after: null, p_digest: "" };
  while (next !== null) {
    const [row]: { page: CheckpointPage }[] = await select(
      client,
      "select public.checkpoint_token_ledger($1, $2, nullif($3, ''), $4) as page",
      [userId, next.p_after, next.p_digest, entriesAPage],
    );
    yield row!.page;
    next = row!.page.next;
  }
}

/** The digest over a checkpoint's lines, as the database computes it: a chain, so that it is known page by page. */
export function digestAfter(digest: string | undefined, line: string): string {
  const hash = createHash("sha256");
  if (digest !== undefined) hash.update(digest, "hex");
  return hash.update(`${line}\n`).digest("hex");
}

/** A user's line: who, and the number of their last entry. */
export function readLine(line: string): { userId: string; entries: number } {
  const [userId, entries] = line.split(" ");
  return { userId: userId!, entries: Number(entries) };
}

/** The most users in a piece: with few entries each, users are what takes time. */
const mostUsers = 20_000;

/**
 * Compares the ledger with the lines of a checkpoint in pieces, each in one snapshot. A piece is as many users
 * as have about that many entries; one user is always one piece.
 *
 * @param lines all of them, the first line first.
 */
export async function* verifyCheckpointInPieces(
  client: SqlClient,
  lines: AsyncIterable<string>,
  entries: number,
): AsyncGenerator<Piece, void, undefined> {
  let head: string | undefined;
  let after: string | null = null;
  let piece: string[] = [];
  let has = 0;
  for await (const line of lines) {
    if (head === undefined) {
      head = line;
      continue;
    }
    const { userId, entries: more } = readLine(line);
    if (piece.length > 0 && (has + more > entries || piece.length >= mostUsers)) {
      const until: string = readLine(piece.at(-1)!).userId;
      yield {
        breaches: await verifyPiece(client, [head, ...piece], after, until),
        users: piece.length,
        until,
      };
      after = until;
      piece = [];
      has = 0;
    }
    piece.push(line);
    has += more;
    if (userId <= (after ?? "")) throw new Error(`The users are not in order: ${userId} after ${after}.`);
  }
  if (head === undefined) throw new Error("There is no line in it.");
  yield {
    breaches: await verifyPiece(client, [head, ...piece], after, null),
    users: piece.length,
    until: null,
  };
}

async function verifyPiece(
  client: SqlClient,
  lines: string[],
  after: string | null,
  until: string | null,
): Promise<Breach[]> {
  const functions = await ownFunctions();
  return await inTransaction(client, async () => {
    // A piece has its size, and one user cannot be halved: the time it takes is known, and is given.
    await client.query("set local statement_timeout = 0");
    await client.query(functions);
    const breaches = await select<Breach>(
      client,
      "select * from pg_temp.verify_token_checkpoint($1, $2, $3)",
      [JSON.stringify(lines), after, until],
    );
    await client.query(forgetFunctions);
    return breaches;
  });
}

/** What a verification consists of. */
const functionNames = ["next_ledger_user", "checkpoint_line", "chain_ledger", "verify_token_checkpoint"];

/** For a connection that others use after us. */
const forgetFunctions = `drop function ${functionNames.map((name) => `pg_temp.${name}`).join(", ")}`;

/**
 * The functions of a verification, from this checkout and as temporary ones. A role that can change the ledger
 * can change the functions in the database as well: so only its tables are read.
 */
async function ownFunctions(): Promise<string> {
  const names = new RegExp(`\\btokenbook\\.(${functionNames.join("|")})\\b`, "g");
  const files = functionNames.map((name) => assetPath(`schemas/90_audit/${name}.sql`));
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8")));
  return texts.join("\n").replaceAll(names, "pg_temp.$1");
}
