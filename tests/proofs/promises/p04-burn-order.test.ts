// @module-tag proof
import fc from "fast-check";
import { type BurnOrder, inBurnOrder } from "../../support/burn-order.ts";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P4",
  promise: "Grants are spent in their order, exactly, and ties have one order too",
  trial:
    "Random grants full of ties (priority, moment, expiry) and random spending in each of its ways, in both burn orders; which grants paid how much compared with a sorted list",
  run: (scale) => tryIt(null, scale === "long" ? 500 : 40),
  control: {
    variant: "leaves the order of ties open",
    run: () => tryIt("ties-by-chance", 20),
  },
});

const DAY = 24 * 3_600_000;

interface Lot {
  id: string;
  priority: number;
  grantedAt: number;
  expiresAt: number;
  left: number;
}

const ways = ["deduct", "track", "correct", "batch", "hold"] as const;
type Step =
  | { kind: "grant"; tokens: number; priority: number; daysAgo: number; days: number | null }
  | Expense;
interface Expense {
  kind: "spend";
  way: (typeof ways)[number];
  tokens: number;
  /** Of a hold: how much of it, in percent, is used in the end. */
  share: number;
}

/** Small numbers on purpose: ties and empty accounts must come up often. */
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("grant" as const),
        tokens: fc.integer({ min: 1, max: 60 }),
        priority: fc.constantFrom(50, 50, 50, 10, 90),
        daysAgo: fc.integer({ min: 0, max: 2 }),
        days: fc.constantFrom(null, 5, 9),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("spend" as const),
        way: fc.constantFrom(...ways),
        tokens: fc.integer({ min: 1, max: 45 }),
        share: fc.integer({ min: 0, max: 100 }),
      }),
    },
  ),
  { minLength: 30, maxLength: 60, size: "max" },
);

async function tryIt(mutant: string | null, sequences: number): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    for (const order of ["fifo", "expiring_first"] as const) {
      await db.admin.query("select public.set_token_burn_order($1)", [order]);
      const result = await fc.check(
        fc.asyncProperty(steps, (sequence) => follow(db, order, sequence, mix)),
        { numRuns: Math.ceil(sequences / 2), seed, endOnFailure: mutant !== null },
      );
      if (result.failed) {
        wrong.push(`${order}: ${String(result.errorInstance)} ${JSON.stringify(result.counterexample)}`);
      }
    }
    if (mutant === null) {
      wrong.push(...(await breaches(db)));
      for (const way of ways) if (!mix[way]) wrong.push(`nothing was spent by ${way}`);
      if ((mix["a tie decided it"] ?? 0) < sequences) wrong.push("proves little: hardly a tie mattered");
    }
    const times = ways.reduce((sum, way) => sum + (mix[way] ?? 0), 0);
    return {
      times,
      unit: `expenses (seed ${seed})`,
      mix,
      violations: wrong.length,
      examples: wrong.slice(0, 3),
    };
  } finally {
    await db.drop();
  }
}

/** Runs one sequence against the books and the list; throws at the first difference. */
async function follow(
  db: Database,
  order: BurnOrder,
  sequence: Step[],
  mix: Record<string, number>,
): Promise<void> {
  const user = await createUser(db);
  const midnight = Math.floor(Date.now() / DAY) * DAY;
  const count = (outcome: string) => (mix[outcome] = (mix[outcome] ?? 0) + 1);
  const lots: Lot[] = [];
  for (const step of sequence) {
    if (step.kind === "grant") {
      const lot = {
        priority: step.priority,
        grantedAt: midnight - step.daysAgo * DAY,
        expiresAt: step.days === null ? Infinity : midnight + step.days * DAY,
        left: step.tokens,
      };
      const { rows } = await db.admin.query(
        `select public.grant_tokens($1, $2, 'purchase', p_priority => $3, p_granted_at => $4, p_expires_at => $5) ->> 'grant_id' as id`,
        [
          user,
          lot.left,
          lot.priority,
          new Date(lot.grantedAt),
          lot.expiresAt === Infinity ? "infinity" : new Date(lot.expiresAt),
        ],
      );
      lots.push({ ...lot, id: rows[0].id });
      continue;
    }

    lots.sort(inBurnOrder(order));
    const chosen = take(
      lots.map(({ id, left }) => ({ id, tokens: left })),
      step.tokens,
    );
    const { setAside, paid } = await spend(db, user, step);
    if (chosen === null) {
      count("short of tokens");
      same({ setAside, paid }, { setAside: null, paid: null }, step);
      continue;
    }
    count(step.way);
    if (chosen.some(({ id }) => hasATwin(id, lots, order))) count("a tie decided it");
    const expected = step.way === "hold" ? take(chosen, captured(step)) : chosen;
    same({ setAside, paid }, { setAside: step.way === "hold" ? chosen : null, paid: expected }, step);
    for (const { id, tokens } of expected!) lots.find((lot) => lot.id === id)!.left -= tokens;
  }

  const { rows } = await db.admin.query<Part>(
    "select id, tokens_remaining::int as tokens from public.token_balances where user_id = $1 order by id",
    [user],
  );
  const left = lots.map(({ id, left: tokens }) => ({ id, tokens }));
  same(
    rows,
    left.sort((a, b) => (a.id < b.id ? -1 : 1)),
    "what is left",
  );
}

/** Tokens of a grant. */
interface Part {
  id: string;
  tokens: number;
}

/** That many tokens from the front of a list; null when it has too few. */
function take(parts: Part[], tokens: number): Part[] | null {
  let needed = tokens;
  const taken: Part[] = [];
  for (const { id, tokens: there } of parts) {
    const some = Math.min(there, needed);
    if (some > 0) taken.push({ id, tokens: some });
    needed -= some;
  }
  return needed > 0 ? null : taken;
}

/** Whether a lot stands beside another that only its id sets apart, and that has tokens too. */
function hasATwin(id: string, lots: Lot[], order: BurnOrder): boolean {
  const lot = lots.find((one) => one.id === id)!;
  return lots.some(
    (one) =>
      one !== lot &&
      one.left > 0 &&
      one.priority === lot.priority &&
      one.grantedAt === lot.grantedAt &&
      (order === "fifo" || one.expiresAt === lot.expiresAt),
  );
}

/** How much of a hold is used in the end. */
const captured = ({ tokens, share }: Expense) => Math.max(1, Math.floor((tokens * share) / 100));

const calls: Record<Exclude<Expense["way"], "hold">, string> = {
  deduct: "public.deduct_tokens_with_fifo($1, $2)",
  track: "public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2)",
  correct: "public.adjust_tokens($1, -$2::bigint)",
  batch: `public.deduct_tokens_batch(
            jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'tokens', $2::bigint))) #> '{results,0}'`,
};

/** Spends; which grants were set aside for it (a hold), and which paid. Null: too few tokens. */
async function spend(db: Database, user: string, step: Expense) {
  const ask = async (sql: string, ...values: unknown[]) =>
    (await db.admin.query(`select ${sql} as receipt`, values)).rows[0].receipt;
  if (step.way !== "hold") {
    const receipt = await ask(calls[step.way], user, step.tokens);
    return { setAside: null, paid: receipt.success ? parts(receipt.deducted_from) : null };
  }
  const hold = await ask("public.reserve_tokens($1, $2)", user, step.tokens);
  if (!hold.success) return { setAside: null, paid: null };
  const receipt = await ask("public.capture_tokens($1, $2, $3)", user, hold.hold_id, captured(step));
  return { setAside: parts(hold.reserved_from), paid: parts(receipt.deducted_from) };
}

const parts = (allocations: { grant_id: string; deducted: number }[]): Part[] =>
  allocations.map((one) => ({ id: one.grant_id, tokens: one.deducted }));

function same(found: unknown, expected: unknown, after: unknown): void {
  if (JSON.stringify(found) === JSON.stringify(expected)) return;
  throw new Error(
    `after ${JSON.stringify(after)}: ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`,
  );
}
