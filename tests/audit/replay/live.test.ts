// @module-tag proof
import fc from "fast-check";
import type pg from "pg";
import { expect, test } from "vitest";
import { booksWithAClock } from "../../model/check.ts";
import { aboutPlans, aboutTokens } from "../../model/any-command.ts";
import { type Mix, Run } from "../../model/commands.ts";
import type { Database } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";

/** Mostly of tokens: a plan's life is quiet. */
const anyCommand = fc.oneof({ weight: 5, arbitrary: aboutTokens }, { weight: 1, arbitrary: aboutPlans });

const LIVES = 150;
const LANES = 3;

/** A balance as it was answered, and how far the clock has been stepped since. */
interface Snapshot {
  at: string;
  balance: Seen;
  stepped: number;
}

interface Outcome {
  lives: number;
  entries: number;
  snapshots: number;
  /** Snapshots taken while the account was locked: what was due could not be booked on the way. */
  unbooked: number;
  /**
   * Of those, where a hold that has run out will repay a debt: the totals have it, the list of grants has it only
   * once it is booked. Those lists are not compared.
   */
  unrepaid: number;
  differing: string[];
}

/** What a live balance and one as of a moment both say; the clock of the test moves grants' moments. */
function seen(balance: Record<string, unknown>): Seen {
  const { total_active, total_expired, total_reserved, total_owed } = balance;
  const grants = (balance["grants"] as { id: string; tokens_remaining: number; priority: number }[]).map(
    ({ id, tokens_remaining, priority }) => [id, tokens_remaining, priority],
  );
  return { total_active, total_expired, total_reserved, total_owed, grants } as unknown as Seen;
}

interface Seen {
  total_active: number;
  grants: [id: string, tokens: number, priority: number][];
}

/** Whether the grants that are listed add up to more than can be spent. */
function isUnrepaid({ total_active, grants }: Seen): boolean {
  return grants.reduce((sum, [, tokens]) => sum + tokens, 0) > total_active;
}

/** The balance now; with another connection holding the account, so that nothing is booked for it. */
async function snapshot(client: pg.ClientBase, other: pg.ClientBase, user: string, locked: boolean) {
  if (locked) {
    await other.query("begin");
    await other.query("select from public.token_accounts where user_id = $1 for no key update", [user]);
  }
  const { rows } = await client.query("select public.get_user_token_balance($1) as balance", [user]);
  const moment = await client.query("select clock_timestamp()::text as at");
  if (locked) await other.query("rollback");
  return { at: moment.rows[0].at as string, balance: seen(rows[0].balance), stepped: 0 };
}

/**
 * Lives of random users through the functions, side by side; what they should leave is compared at the end.
 *
 * @param until ends it at the first difference that begins so: all that a known-bad variant has to show.
 */
async function live(books: Database, lives: number, seedOf: number, until?: string): Promise<Outcome> {
  const outcome: Outcome = { lives: 0, entries: 0, snapshots: 0, unbooked: 0, unrepaid: 0, differing: [] };
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      const [client, other] = [await books.admin.connect(), await books.admin.connect()];
      const all = fc.sample(
        fc.array(fc.tuple(anyCommand, fc.constantFrom("no", "no", "free", "locked")), {
          minLength: 10,
          maxLength: 40,
          size: "max",
        }),
        { numRuns: Math.ceil(lives / LANES), seed: seedOf + lane },
      );
      const isOver = () => until !== undefined && outcome.differing.some((one) => one.startsWith(until));
      for (const commands of all) {
        if (isOver()) break;
        const user = await createUser(books);
        const mix: Mix = {};
        const run = new Run(client, user, mix);
        const snapshots: Snapshot[] = [];
        for (const [one, look] of commands) {
          await run.execute(one);
          if (one.do === "step") for (const taken of snapshots) taken.stepped += one.seconds;
          // when time has passed there is something due: mostly seen before anybody has booked it
          const locked = one.do === "step" ? look !== "free" : look === "locked";
          if (!locked && look === "no") continue;
          snapshots.push(await snapshot(client, other, user, locked));
          if (locked) outcome.unbooked++;
        }
        await compare(client, user, snapshots, outcome);
      }
      client.release();
      other.release();
    }),
  );
  return outcome;
}

async function compare(client: pg.ClientBase, user: string, snapshots: Snapshot[], outcome: Outcome) {
  const replayed = await client.query(
    "select * from public.replay_token_balances($1) where difference <> 0 or uncovered <> 0",
    [user],
  );
  for (const row of replayed.rows) outcome.differing.push(`replay ${JSON.stringify(row)}`);
  for (const { at, balance, stepped } of snapshots) {
    const { rows } = await client.query(
      "select public.get_token_balance_as_of($1, $2::timestamptz - $3 * interval '1 second') as balance",
      [user, at, stepped],
    );
    const then = seen(rows[0].balance);
    if (isUnrepaid(balance) || isUnrepaid(then)) {
      outcome.unrepaid++;
      then.grants = balance.grants = [];
    }
    if (JSON.stringify(then) !== JSON.stringify(balance))
      outcome.differing.push(
        `as of ${at}\n  was  ${JSON.stringify(balance)}\n  says ${JSON.stringify(then)}`,
      );
  }
  const { rows } = await client.query(
    "select count(*)::int as entries from public.token_transactions where user_id = $1",
    [user],
  );
  outcome.lives++;
  outcome.entries += rows[0].entries;
  outcome.snapshots += snapshots.length;
}

test("whatever the books can do, a replay of it agrees with them, and each balance can be had as it was", async () => {
  const books = await booksWithAClock();
  const outcome = await live(books, LIVES, seed);
  await books.drop();

  console.log(
    `lives=${outcome.lives} entries=${outcome.entries} snapshots=${outcome.snapshots} unbooked=${outcome.unbooked} unrepaid=${outcome.unrepaid} differences=${outcome.differing.length} seed=${seed}`,
  );
  expect(outcome.differing.slice(0, 3)).toEqual([]);
  expect(outcome.entries).toBeGreaterThan(LIVES * 5);
  expect(outcome.unbooked).toBeGreaterThan(LIVES);
  expect(outcome.unrepaid).toBeLessThan(outcome.unbooked / 20);
}, 120_000);

test.each([
  ["as-of-counts-what-ran-out", "as of"],
  ["as-of-forgets-holds-that-ran-out", "as of"],
  ["replay-forgets-releases", "replay"],
])(
  "the test sees it: %s",
  async (mutant, where) => {
    const broken = await booksWithAClock();
    await applyMutant(broken, mutant);
    const { lives, differing } = await live(broken, LIVES, 7, where);
    await broken.drop();

    console.log(`${mutant}: lives=${lives} differences=${differing.length}`);
    expect(differing.filter((one) => one.startsWith(where)).length).toBeGreaterThan(0);
  },
  120_000,
);
