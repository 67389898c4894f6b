import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const DAY = 24 * 3_600_000;

type Command =
  | { kind: "grant"; tokens: number; priority: number; daysAgo: number }
  | { kind: "deduct"; tokens: number; key: number | null };

/** Small numbers on purpose: ties in priority and time, empty accounts and reused keys must come up often. */
const commands = fc.array(
  fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("grant" as const),
        tokens: fc.integer({ min: 1, max: 150 }),
        priority: fc.constantFrom(50, 50, 50, 10, 90),
        daysAgo: fc.integer({ min: 0, max: 3 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("deduct" as const),
        tokens: fc.integer({ min: 1, max: 50 }),
        key: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 3 }),
      }),
    },
  ),
  { minLength: 10, maxLength: 50, size: "max" },
);

/** What the books must do, written from the rules alone: a list of lots, sorted, taken from the front. */
class Model {
  private lots: { id: string; priority: number; at: number; left: number }[] = [];
  private seen = new Map<number, { tokens: number; answer: unknown }>();

  grant(id: string, command: Extract<Command, { kind: "grant" }>, at: number) {
    this.lots.push({ id, priority: command.priority, at, left: command.tokens });
    this.lots.sort((a, b) => a.priority - b.priority || a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  /** `{short}`, `{reused}`, or `{paid: [grant, tokens][], left, replayed}`. */
  deduct({ tokens, key }: Extract<Command, { kind: "deduct" }>): unknown {
    const before = key === null ? undefined : this.seen.get(key);
    if (before)
      return before.tokens === tokens ? { ...(before.answer as object), replayed: true } : { reused: true };
    const there = this.lots.reduce((sum, lot) => sum + lot.left, 0);
    if (there < tokens) return { short: tokens - there };
    let needed = tokens;
    const paid: [string, number][] = [];
    for (const lot of this.lots.filter((candidate) => candidate.left > 0)) {
      if (needed === 0) break;
      const taken = Math.min(lot.left, needed);
      lot.left -= taken;
      needed -= taken;
      paid.push([lot.id, taken]);
    }
    const answer = { paid, left: there - tokens, replayed: false };
    if (key !== null) this.seen.set(key, { tokens, answer });
    return answer;
  }
}

/** Runs one sequence against the books and the model and counts the outcomes; throws at the first difference. */
async function follow(database: Database, sequence: Command[], mix: Record<string, number>): Promise<void> {
  const user = await createUser(database);
  const model = new Model();
  const midnight = Math.floor(Date.now() / DAY) * DAY;
  const count = (outcome: string) => (mix[outcome] = (mix[outcome] ?? 0) + 1);
  for (const command of sequence) {
    if (command.kind === "grant") {
      const at = midnight - command.daysAgo * DAY;
      const { rows } = await database.admin.query(
        "select public.grant_tokens($1, $2, 'purchase', p_priority => $3, p_granted_at => $4) ->> 'grant_id' as id",
        [user, command.tokens, command.priority, new Date(at)],
      );
      model.grant(rows[0].id, command, at);
      count("granted");
      continue;
    }
    const answer = await database.admin
      .query("select public.deduct_tokens_with_fifo($1, $2, p_idempotency_key => $3) as receipt", [
        user,
        command.tokens,
        command.key === null ? null : `key-${command.key}`,
      ])
      .then(({ rows: [{ receipt }] }) =>
        receipt.success
          ? {
              paid: receipt.deducted_from.map((part: { grant_id: string; deducted: number }) => [
                part.grant_id,
                part.deducted,
              ]),
              left: receipt.tokens_remaining,
              replayed: receipt.replayed,
            }
          : { short: receipt.tokens_remaining_to_deduct },
      )
      .catch((error: { message: string }) => {
        if (error.message !== "idempotency_key_reused") throw error;
        return { reused: true };
      });
    const expected = model.deduct(command) as Record<string, unknown>;
    // a replay answers with the balance of then, and so does the model
    expect(answer).toEqual(expected);
    count(
      "short" in expected
        ? "short"
        : "reused" in expected
          ? "refused"
          : expected.replayed
            ? "replayed"
            : "deducted",
    );
  }
}

test("random sequences do what the reference model does, allocation by allocation", async () => {
  const mix: Record<string, number> = {};
  let sequences = 0;
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);

  await fc
    .assert(
      fc.asyncProperty(commands, async (sequence) => {
        sequences++;
        await follow(db, sequence, mix);
      }),
      { seed, numRuns: 100, endOnFailure: false },
    )
    .finally(() => console.log(`sequences=${sequences} seed=${seed} mix=${JSON.stringify(mix)}`));

  await expectCleanBooks(db);
}, 120_000);

test("the test sees it: newest first differs from the model", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "lifo");

  const result = await fc.check(
    fc.asyncProperty(commands, (sequence) => follow(broken, sequence, {})),
    { numRuns: 100, seed: 1, endOnFailure: true },
  );
  await broken.drop();

  expect(result.failed).toBe(true);
}, 120_000);
