// @module-tag proof
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { exactly, type History, Stored } from "./exact.ts";
import { history, isOld, NOW, write } from "./histories.ts";

const HISTORIES = 10_000;

interface Expected {
  history: History;
  stored: Stored;
  /** By grant: exact and stored, what has run out on neither side. */
  grants: Map<string, [exact: number, stored: number]>;
  uncovered: number;
}

function expected(one: History): Expected {
  const stored = new Stored(one);
  const exact = exactly(one, stored);
  const grants = new Map<string, [number, number]>();
  for (const [grant, left] of stored.pile.left)
    grants.set(grant.id, grant.expiresAt > NOW ? [exact.left.get(grant) ?? 0, left] : [0, 0]);
  return { history: one, stored, grants, uncovered: exact.uncovered };
}

/** Every grant and every user about whom the database and the model disagree. */
async function differences(db: Database, all: Expected[]): Promise<string[]> {
  const { rows } = await db.admin.query(
    `select user_id, coalesce(json_object_agg(grant_id, json_build_array(exact, stored, difference)) filter (where grant_id is not null), '{}') as grants,
            sum(uncovered)::int as uncovered, count(*) filter (where uncovered > 0)::int as rows_without_grant
       from public.replay_token_balances() group by user_id`,
  );
  const found = new Map(rows.map((row) => [row.user_id as string, row]));
  return all.flatMap(({ history: one, grants, uncovered }) => {
    const row = found.get(one.user) ?? { grants: {}, uncovered: 0, rows_without_grant: 0 };
    const differing = [...grants].filter(
      ([id, [exact, stored]]) =>
        JSON.stringify(row.grants[id]) !== JSON.stringify([exact, stored, stored - exact]),
    );
    const same =
      differing.length === 0 &&
      Object.keys(row.grants).length === grants.size &&
      row.uncovered === uncovered &&
      row.rows_without_grant === (uncovered > 0 ? 1 : 0);
    return same
      ? []
      : [
          `${JSON.stringify(one)}\n expected ${JSON.stringify([...grants])} ${uncovered}\n found ${JSON.stringify(row)}`,
        ];
  });
}

/** Different users in every run: ids are random too. */
const histories = (count: number, of: number) =>
  fc.sample(history, { numRuns: count, seed: of }).map(expected);

test("ten thousand random histories come out as the reference model has them, grant by grant", async () => {
  const db = await createDatabase();
  const all = histories(HISTORIES, seed);
  await write(db, all);

  const begin = performance.now();
  const found = await differences(db, all);
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  await db.drop();

  const entries = all.reduce((total, { stored }) => total + stored.ledger.length, 0);
  const count = (those: (one: Expected) => boolean) => all.filter(those).length;
  const mix = {
    old: count((one) => isOld(one.history)),
    differing: count((one) => [...one.grants.values()].some(([exact, stored]) => exact !== stored)),
    uncovered: count((one) => one.uncovered > 0),
    ranOut: count((one) => one.stored.ledger.some((entry) => entry.entryType === "expiry")),
    holds: count((one) => one.stored.holds.length > 0),
    refunds: count((one) => one.stored.ledger.some((entry) => entry.entryType === "refund")),
    repairs: count((one) => one.stored.ledger.some((entry) => entry.isRepair)),
    debts: count((one) => one.stored.ledger.some((entry) => entry.entryType === "debt_repayment")),
  };
  console.log(
    `replay: histories=${all.length} entries=${entries} differences=${found.length} seed=${seed} seconds=${seconds} mix=${JSON.stringify(mix)}`,
  );
  expect(found.slice(0, 3)).toEqual([]);
  // a run in which nothing much happens proves nothing
  for (const [what, users] of Object.entries(mix)) expect(users, what).toBeGreaterThan(HISTORIES / 50);
}, 180_000);

/**
 * A refund reissues one token that exactly nobody lost; a later one names that grant, and forfeits what
 * exactly was lost by then. A random history in some hundred thousand has it.
 */
function reissuedForNothing(): History {
  const uuid = (n: number) => `${n}0000000-0000-4000-8000-000000000000`;
  const grant = (n: number, at: number, made: { tokens: number; priority: number; expiresAt: number }) => ({
    do: "grant" as const,
    at,
    grant: {
      id: uuid(n),
      origin: "ledger" as const,
      grantedAt: at,
      opening: 0,
      ...made,
    },
  });
  return {
    user: uuid(9),
    grants: [],
    deductions: [],
    trail: "usage",
    openedAt: 24,
    events: [
      grant(1, 50, {
        tokens: 4,
        priority: 50,
        expiresAt: Infinity,
      }),
      grant(2, 51, {
        tokens: 4,
        priority: 50,
        expiresAt: 52,
      }),
      {
        do: "deduct",
        at: 51,
        tokens: 4,
        newestFirst: true,
      },
      {
        do: "refund",
        at: 53,
        charge: 0,
        tokens: 1,
        reissue: uuid(3),
      },
      grant(4, 54, {
        tokens: 3,
        priority: 10,
        expiresAt: 55,
      }),
      {
        do: "deduct",
        at: 54,
        tokens: 4,
        newestFirst: true,
      },
      {
        do: "refund",
        at: 56,
        charge: 1,
        tokens: 4,
        reissue: null,
      },
    ],
  };
}

test.each([
  [undefined, 0],
  ["replay-reissues-late", 1],
])("what a refund reissued for nothing stays nothing (variant %s: %i differences)", async (mutant, count) => {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const all = [expected(reissuedForNothing())];
  await write(db, all);

  const found = await differences(db, all);
  await db.drop();

  expect(all[0]!.grants.get("30000000-0000-4000-8000-000000000000")).toEqual([0, 1]);
  expect(found).toHaveLength(count);
});

test.each([
  ["replay-newest-first", "the newest grant pays first"],
  ["replay-ignores-expiry", "a grant pays after it has run out"],
  ["replay-expiry-inclusive", "a grant pays at the moment at which it runs out"],
  ["replay-pays-before-it-was-granted", "an old deduction is paid by a later grant"],
  ["replay-trusts-the-ledger", "what is given back goes where the ledger says"],
  ["replay-forgets-repairs", "what reconciliation has settled is asked for again"],
  ["replay-trusts-the-opening", "old grants begin with what the opening balance says"],
])(
  "the test sees it: %s (%s)",
  async (mutant) => {
    const broken = await createDatabase();
    await applyMutant(broken, mutant);
    const all = histories(1_000, 7);
    await write(broken, all);

    const found = await differences(broken, all);
    await broken.drop();

    console.log(`${mutant}: histories=1000 differences=${found.length}`);
    expect(found.length).toBeGreaterThan(0);
  },
  60_000,
);
