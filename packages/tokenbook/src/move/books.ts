/** One user's books, or a team's, from one project to another: the steps, each of which can be the last that was done. */
import { randomUUID } from "node:crypto";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { select } from "../data/client.ts";

/** The two databases of a move. */
export interface Ends {
  from: pg.Client;
  to: pg.Client;
  /** Another connection to where the books come from: it computes the proof while they are copied. */
  prover: pg.Client;
}

/** What `tokenbook.prove_books` says; equal at both ends. */
export interface Proof {
  users: number;
  tables: Record<string, { rows: number; digest?: string }>;
  sums: Record<string, number>;
  /** A line of a checkpoint for each user. */
  ledger?: string[];
  keys?: { count: number; digest?: string };
}

/** A move that has begun. */
export interface Move {
  id: string;
  userIds: string[];
  place: string;
  phase: "moving" | "moved" | "taken_back";
  /** The state of each account before. */
  former: Record<string, string>;
  proof: Proof | null;
}

/** Where a move is: what was committed last. */
export type Step = "locked" | "copied" | "let go" | "opened";

/** Everybody whose books have to be together with this user's. */
export async function peopleOfTeam(client: pg.Client, userId: string): Promise<string[]> {
  const [row] = await select<{ ids: string[] }>(client, "select tokenbook.people_of_team($1) as ids", [
    userId,
  ]);
  return row!.ids;
}

/** The move of that user that is under way, or was the last one and has not been taken back; undefined: none. */
export async function moveOf(client: pg.Client, userId: string): Promise<Move | undefined> {
  const [move] = await select<Move>(
    client,
    `select m.id, m.place, m.phase, m.proof, tokenbook.people_of_move(m.id, 'out') as "userIds",
            (select jsonb_object_agg(o.user_id, o.former_state) from tokenbook.moves o where o.id = m.id and o.direction = 'out') as former
       from tokenbook.moves m
       join public.token_accounts a on a.user_id = m.user_id and a.state = m.phase
      where m.user_id = $1 and m.direction = 'out' and m.phase in ('moving', 'moved')
      order by m.started_at desc
      limit 1`,
    [userId],
  );
  return move;
}

/** Which states these users' accounts have; who has none is left out. */
export async function statesOf(client: pg.Client, userIds: string[]): Promise<Record<string, string>> {
  const rows = await select<{ user_id: string; state: string }>(
    client,
    "select user_id, state from public.token_accounts where user_id = any ($1)",
    [userIds],
  );
  return Object.fromEntries(rows.map(({ user_id, state }) => [user_id, state]));
}

/** What is wrong in these users' books where they are, twenty findings at most. */
export async function breachesOf(client: pg.Client, userIds: string[]): Promise<string[]> {
  const rows = await select<{ breach: string }>(
    client,
    `select b.invariant || ' of ' || b.user_id || ': ' || coalesce(b.expected, '') || ', found ' || coalesce(b.found, '') as breach
       from unnest($1::uuid[]) as u (id) cross join lateral public.verify_token_ledger(u.id) b limit 20`,
    [userIds],
  );
  return rows.map(({ breach }) => breach);
}

/**
 * Refuses before the first step what is known to be refused in the second, when the books would be closed already: users
 * for whom there is no room in the other project.
 */
async function requireRoom({ from, to }: Pick<Ends, "from" | "to">, userIds: string[]): Promise<void> {
  // as Postgres writes it: numbers of JavaScript end at 2^53
  const [own] = await select<{ keys: string }>(from, "select tokenbook.keys_beside_users($1)::text as keys", [
    userIds,
  ]);
  const [room] = await select<{ before: string[] }>(to, "select tokenbook.require_room($1, $2) as before", [
    userIds,
    own!.keys,
  ]);
  await from.query("select tokenbook.require_continuation($1)", [room!.before]);
}

/** What a move does, and what it tells meanwhile. */
export interface MoveOptions {
  userIds: string[];
  /** What the other project is called, in the refusals here. */
  place: string;
  /** What this one is called there. */
  fromPlace: string | null;
  /** A move that has begun, to go on with. */
  begun?: Move | undefined;
  /** Told of each table, and how much of it has gone. */
  onCopy?: (table: string, bytes: number) => void;
}

/**
 * Moves the books, a step at a time. Each step is one commit, in one of the two databases; a move that was stopped after
 * any of them, or within one, is gone on with by calling this again with `begun`. The other project is asked beforehand
 * whether there is room.
 *
 * - `locked`: nobody changes or reads them in the old project
 * - `copied`: they are whole in the new one, compared and verified, and closed
 * - `let go`: the old one says that they are not there any more
 * - `opened`: the new one uses them
 *
 * @yields the step that has just been committed, with the proof from `copied` on.
 */
export async function* moveBooks(
  { from, to, prover }: Ends,
  { userIds, place, fromPlace, begun, onCopy = () => {} }: MoveOptions,
): AsyncGenerator<{ step: Step; proof: Proof | null }, Proof, undefined> {
  const id = begun?.id ?? randomUUID();
  for (const client of [from, to, prover]) {
    await client.query("set statement_timeout = 0");
    await client.query("set idle_in_transaction_session_timeout = 0");
  }
  if (begun === undefined) {
    await requireRoom({ from, to }, userIds);
    await from.query("select tokenbook.begin_move($1, $2, $3)", [id, userIds, place]);
    yield { step: "locked", proof: null };
  }
  const former = begun?.former ?? (await formerStates(from, id));
  let proof = begun?.proof ?? null;
  if (begun?.phase !== "moved") {
    const compared = await copyBooks({ from, to, prover }, { id, userIds, former, fromPlace, onCopy });
    proof = JSON.parse(compared) as Proof;
    yield { step: "copied", proof };
    await from.query("select tokenbook.mark_moved($1, $2)", [id, compared]);
    yield { step: "let go", proof };
  }
  await to.query("select tokenbook.open_arrival($1)", [id]);
  yield { step: "opened", proof };
  return proof!;
}

async function formerStates(from: pg.Client, id: string): Promise<Record<string, string>> {
  const [row] = await select<{ former: Record<string, string> }>(
    from,
    "select jsonb_object_agg(user_id, former_state) as former from tokenbook.moves where id = $1 and direction = 'out'",
    [id],
  );
  return row!.former;
}

/** Takes a move back: the books are in use again where they were, and then the copy goes, which nobody can open any more. */
export async function takeBack({ from, to }: Pick<Ends, "from" | "to">, move: Move): Promise<void> {
  await from.query("select tokenbook.take_move_back($1)", [move.id]);
  await to.query("select tokenbook.discard_arrival($1)", [move.id]);
}

/**
 * Ends a taking back that was stopped when the copy was still there.
 *
 * @returns the move that it was; undefined: there is none.
 */
export async function endTakingBack(
  { from, to }: Pick<Ends, "from" | "to">,
  userId: string,
): Promise<Pick<Move, "place" | "userIds"> | undefined> {
  const [last] = await select<Pick<Move, "id" | "place" | "userIds"> & { isTakenBack: boolean }>(
    from,
    `select m.id, m.place, m.phase = 'taken_back' as "isTakenBack", tokenbook.people_of_move(m.id, 'out') as "userIds"
       from tokenbook.moves m
      where m.user_id = $1 and m.direction = 'out'
      order by m.started_at desc
      limit 1`,
    [userId],
  );
  if (last?.isTakenBack !== true) return undefined;
  const [discarded] = await select<{ was: boolean }>(to, "select tokenbook.discard_arrival($1) as was", [
    last.id,
  ]);
  return discarded!.was ? last : undefined;
}

interface Copy {
  id: string;
  userIds: string[];
  former: Record<string, string>;
  fromPlace: string | null;
  onCopy: (table: string, bytes: number) => void;
}

/** A table as the move copies it. */
export interface MovedTable {
  name: string;
  whose: string;
  columns: string[];
  /** Numbers of its own give its rows their order. */
  isNumbered: boolean;
}

/** The tables that are copied, with their columns and types, so that two projects can be compared. */
export async function movedTables(client: pg.Client): Promise<(MovedTable & { types: string[] })[]> {
  return await select(
    client,
    `select l.name, l.whose, 'id' = any (l.left_out) as "isNumbered",
            array_agg(a.attname::text order by a.attname) as columns,
            array_agg(format_type(a.atttypid, a.atttypmod) order by a.attname) as types
       from tokenbook.tables_of_users() with ordinality as l (name, whose, left_out, stays, nth)
       join pg_attribute a on a.attrelid = l.name::regclass and a.attnum > 0 and not a.attisdropped
                          and a.attname <> all (l.left_out) and a.attgenerated = ''
      where l.stays is null
      group by l.name, l.whose, l.left_out, l.nth
      order by l.nth`,
  );
}

/**
 * The copy: one transaction of the new project, so that a move that is stopped in it has left nothing there.
 *
 * @returns the proof as Postgres writes it: numbers of JavaScript end at 2^53.
 */
async function copyBooks(
  { from, to, prover }: Ends,
  { id, userIds, former, fromPlace, onCopy }: Copy,
): Promise<string> {
  const tables = await movedTables(from);
  let proving: Promise<{ proof: string }[]> | undefined;
  await to.query("begin");
  try {
    const [arrival] = await select<{ made: boolean }>(
      to,
      "select made from tokenbook.begin_arrival($1, $2, $3)",
      [id, former, fromPlace],
    );
    let proof: string;
    if (arrival!.made) {
      // stopped after the copy was committed: what was compared there is what counts
      const [made] = await select<{ proof: string }>(
        to,
        "select proof::text from tokenbook.moves where id = $1 and direction = 'in' limit 1",
        [id],
      );
      proof = made!.proof;
    } else {
      proving = select(prover, "select tokenbook.prove_books($1)::text as proof", [userIds]);
      // it is awaited below; meanwhile it must not count as unhandled
      proving.catch(() => {});
      for (const table of tables) {
        await copyTable(from, to, table, userIds, (bytes) => onCopy(table.name, bytes));
      }
      proof = (await proving)[0]!.proof;
      await to.query("select tokenbook.end_arrival($1, $2)", [id, proof]);
    }
    await to.query("commit");
    return proof;
  } catch (error) {
    await to.query("rollback").catch(() => {});
    await proving?.catch(() => {});
    throw error;
  }
}

async function copyTable(
  from: pg.Client,
  to: pg.Client,
  { name, whose, columns, isNumbered }: MovedTable,
  userIds: string[],
  onBytes: (bytes: number) => void,
): Promise<void> {
  // COPY takes no parameters; these are uuids, as Postgres wrote them
  const users = `'{${userIds.join(",")}}'::uuid[]`;
  const listed = columns.map((column) => `"${column}"`).join(", ");
  const where = whose.replaceAll("$1", users);
  const out = from.query(
    copyTo(
      `copy (select ${listed} from ${name} x where ${where}${isNumbered ? " order by x.id" : ""}) to stdout with (format binary)`,
    ),
  );
  const into = to.query(copyFrom(`copy ${name} (${listed}) from stdin with (format binary)`));
  let bytes = 0;
  out.on("data", (chunk: Buffer) => onBytes((bytes += chunk.length)));
  await pipeline(out, into);
}
