/** Writers at work, the database killed under them, and what is left of what it had acknowledged. */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { breaches } from "./books.ts";
import type { Database } from "./database.ts";
import { diceFor } from "./dice.ts";
import type { DurableServer, Killing } from "./durable.ts";
import { connectAsServer } from "./storm.ts";
import { type Attempt, isRefusal, movedBy, type Receipt, send, Workload } from "./workload.ts";
import { createUser } from "./roles.ts";

/** What a series of crashes did, and what it broke, in words. */
export interface Aftermath {
  rounds: number;
  acknowledged: number;
  mix: Record<string, number>;
  /** Acknowledged, and not there any more, or not as it was acknowledged. */
  lost: string[];
  /** There, and nobody ever asked for it; or refused, and there all the same. */
  unasked: string[];
  /** Unknown outcomes that sending the call again did not settle, or had a second effect. */
  unresolved: string[];
  /** Accounts that are not what their grants, holds and ledger say. */
  broken: string[];
}

export interface Crashes {
  rounds: number;
  /** How many write at once. */
  writers: number;
  /** How the killings follow each other. */
  killings: readonly Killing[];
  /** How many calls are answered between two crashes; half as many at least. */
  answers: number;
  /** How a writer connects; default as the server. */
  connect?: (db: Database) => Promise<pg.Client>;
  /** What a writer does; default, send the next attempt of the workload. */
  write?: (client: pg.Client, attempt: Attempt) => Promise<Receipt>;
  /** What a writer attempts; default everything. */
  attempts?: (work: Workload) => Attempt;
  /** Settings to start again with. */
  settings?: Record<string, string | number>;
}

/** How an attempt ended, as far as its client knows. */
export type Fate = { receipt: Receipt } | { refused: string } | "unknown";

/** Lets writers work and kills the server under them, again and again; examines what is left each time. */
export async function crash(server: DurableServer, crashes: Crashes): Promise<Aftermath> {
  const { db } = server;
  const { rounds, writers, killings, answers, write = send } = crashes;
  const { connect = connectAsServer, attempts = (work: Workload) => work.next() } = crashes;
  const users = await Promise.all(Array.from({ length: 8 }, () => createUser(db)));
  const work = new Workload(users);
  const fates = new Map<Attempt, Fate>();
  const found: Aftermath = {
    rounds,
    acknowledged: 0,
    mix: {},
    lost: [],
    unasked: [],
    unresolved: [],
    broken: [],
  };
  const count = (outcome: string, times = 1) => {
    found.mix[outcome] = (found.mix[outcome] ?? 0) + times;
  };

  const broken: Error[] = [];

  const attemptOne = async (client: pg.Client, attempt: Attempt): Promise<boolean> => {
    // unknown from the moment at which it is sent
    fates.set(attempt, "unknown");
    try {
      const receipt = await write(client, attempt);
      fates.set(attempt, { receipt });
      work.learn(attempt, receipt);
    } catch (error) {
      if (!isRefusal(error)) {
        if (!isEndOfConnection(error)) broken.push(error as Error);
        return false;
      }
      fates.set(attempt, { refused: error.message });
    }
    return true;
  };

  const server0 = await connectAsServer(db);
  for (const attempt of work.first()) await attemptOne(server0, attempt);
  await server0.end();

  for (let round = 0; round < rounds; round++) {
    const clients = await Promise.all(Array.from({ length: writers }, () => connect(db)));
    let left = Math.ceil(answers * (0.5 + diceFor(round).next() / 2));
    const killed = new AbortController();
    const isDown = () => killed.signal.aborted;
    const isEnough = () => left <= 0;
    const writing = clients.map(async (client) => {
      while (!isDown() && (await attemptOne(client, attempts(work)))) left--;
    });
    while (!isEnough()) await sleep(5);
    const how = killings[round % killings.length]!;
    await server.kill(how);
    killed.abort();
    await Promise.all(writing);
    // neither an answer nor a crash: the trial is wrong, or a call was that nobody may ever see fail
    if (broken.length > 0) throw broken[0];
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    if (how !== "backend") await server.start(crashes.settings);
    count(`killed: ${how}`);

    found.broken.push(...(await breaches(db)), ...(await unclean(db)));
    await compare(db, fates, found);

    // what nobody knows is asked again, with the same key
    const client = await connectAsServer(db);
    for (const [attempt, fate] of fates) {
      if (fate !== "unknown") continue;
      const first = await askAgain(client, attempt);
      const second = await askAgain(client, attempt);
      fates.set(attempt, first);
      if ("receipt" in first) work.learn(attempt, first.receipt);
      count(
        `unknown, and ${"refused" in first ? "refused" : first.receipt.replayed ? "had happened" : "had not happened"}`,
      );
      if (!isSame(first, second)) {
        found.unresolved.push(
          `${describe(attempt)}: ${JSON.stringify(first)}, then ${JSON.stringify(second)}`,
        );
      }
    }
    await client.end();
    found.unresolved.push(...(await balancesUnlike(db, fates)));
  }

  await compare(db, fates, found);
  found.broken.push(...(await breaches(db)), ...(await unclean(db)));
  for (const fate of fates.values()) if (fate !== "unknown" && "receipt" in fate) found.acknowledged++;
  count("acknowledged", found.acknowledged);
  for (const list of ["lost", "unasked", "unresolved", "broken"] as const) {
    found[list] = [...new Set(found[list])]; // what is wrong stays wrong from crash to crash
  }
  count("refused", [...fates.values()].filter((fate) => fate !== "unknown" && "refused" in fate).length);
  return found;
}

/** Whether the connection ended: the server was killed (pg has no code for it), or says that it goes. */
function isEndOfConnection(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === undefined || ["57P01", "57P02", "57P03", "ECONNRESET", "EPIPE"].includes(code);
}

async function askAgain(client: pg.Client, attempt: Attempt): Promise<Exclude<Fate, "unknown">> {
  try {
    return { receipt: await send(client, attempt) };
  } catch (error) {
    if (isRefusal(error)) return { refused: error.message };
    throw error;
  }
}

/** Whether the second answer is the first one again: a replay of it, unless nothing had come of it. */
function isSame(first: Exclude<Fate, "unknown">, second: Exclude<Fate, "unknown">): boolean {
  if ("refused" in first) return "refused" in second && second.refused === first.refused;
  if ("refused" in second) return false;
  const hasEffect = first.receipt.transaction_id !== null || typeof first.receipt.status === "string";
  return (
    second.receipt.success === first.receipt.success &&
    second.receipt.transaction_id === first.receipt.transaction_id &&
    (second.receipt.replayed || !hasEffect)
  );
}

interface Entry {
  user_id: string;
  id: number;
  tokens: number;
  idempotency_key: string | null;
  hold_id: string | null;
}

/** Compares what was acknowledged and what was attempted with the tables. */
export async function compare(
  db: Database,
  fates: ReadonlyMap<Attempt, Fate>,
  found: Pick<Aftermath, "lost" | "unasked">,
): Promise<void> {
  const { rows: entries } = await db.admin.query<Entry>(
    `select user_id, id::int, tokens::int, idempotency_key, hold_id from public.token_transactions order by user_id, id`,
  );
  const { rows: holds } = await db.admin.query<{ id: string; status: string; capture_id: number | null }>(
    "select id, status, capture_id::int from public.token_holds",
  );
  const byKey = new Map(entries.map((entry) => [`${entry.user_id} ${entry.idempotency_key}`, entry]));
  const byHold = new Map(holds.map((hold) => [hold.id, hold]));
  const asked = new Set<string>();
  for (const [attempt, fate] of fates) {
    asked.add(`${attempt.user} ${attempt.key ?? attempt.hold}`);
    if (fate === "unknown") continue;
    const entry = attempt.key === null ? undefined : byKey.get(`${attempt.user} ${attempt.key}`);
    if ("refused" in fate) {
      if (entry !== undefined) found.unasked.push(`refused and booked: ${describe(attempt)}`);
      continue;
    }
    const { receipt } = fate;
    if (attempt.hold !== null) {
      const hold = byHold.get(attempt.hold);
      // of a capture and a release that met, one says what the other did
      if (hold?.status !== receipt.status || hold?.capture_id !== receipt.transaction_id) {
        found.lost.push(`${describe(attempt)}: ${receipt.status}, now ${hold?.status ?? "no such hold"}`);
      }
    } else if (receipt.success) {
      if (entry?.id !== receipt.transaction_id || entry?.tokens !== movedBy(attempt, receipt)) {
        found.lost.push(
          `${describe(attempt)}: transaction ${receipt.transaction_id}, now ${entry?.id ?? "none"}`,
        );
      }
    } else if (entry !== undefined) {
      found.unasked.push(`short of tokens and booked: ${describe(attempt)}`);
    }
  }
  for (const entry of entries) {
    // a hold's own entry has the key that set it aside; what came of it is known by the hold
    if (!asked.has(`${entry.user_id} ${entry.idempotency_key ?? entry.hold_id}`)) {
      found.unasked.push(`nobody asked for ${JSON.stringify(entry)}`);
    }
  }
}

/** Every outcome is known by now, so each user's tokens are the sum of what the answers said. */
async function balancesUnlike(db: Database, fates: ReadonlyMap<Attempt, Fate>): Promise<string[]> {
  const expected = new Map<string, number>();
  const settled = new Set<string>();
  for (const [attempt, fate] of fates) {
    if (fate === "unknown" || !("receipt" in fate)) continue;
    const moved = movedBy(attempt, fate.receipt);
    // a hold may have been settled by several calls, each of which was told what the first one did
    if (moved === 0 || (attempt.hold !== null && settled.size === settled.add(attempt.hold).size)) continue;
    expected.set(attempt.user, (expected.get(attempt.user) ?? 0) + moved);
  }
  const { rows } = await db.admin.query<{ user_id: string; tokens: number }>(
    "select user_id, (tokens_remaining + tokens_reserved)::int as tokens from public.token_accounts",
  );
  return rows
    .filter(({ user_id, tokens }) => tokens !== (expected.get(user_id) ?? 0))
    .map(({ user_id, tokens }) => `${user_id} has ${tokens}, its answers add up to ${expected.get(user_id)}`);
}

async function unclean(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query(
    "select invariant || ' of ' || user_id || ': ' || expected || ', found ' || found as breach from public.verify_token_ledger()",
  );
  return rows.map(({ breach }) => breach as string);
}

function describe({ kind, user, key, hold }: Attempt): string {
  return `${kind} ${key ?? hold} of ${user}`;
}
