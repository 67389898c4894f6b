// @module-tag proof
// What a user writes of their own use is their word: nothing of the books may rest on it.
import type { ClientBase } from "pg";
import { expect, test } from "vitest";
import { planRepair } from "../../../packages/tokenbook/src/data/repair-plan.ts";
import type { Reconciliation } from "../../../packages/tokenbook/src/client/answers.ts";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asService, asUser, createUser, rpc, type Claims } from "../../support/roles.ts";

/** What callers can write into metadata that some code somewhere reads: of grants, openings, plans, requests. */
const WORDS: Claims[] = [
  { request_id: "the same" },
  { requestId: "the same" },
  { effective_at: "x", plan_type: "free_daily" },
  { effective_at: "2099-01-01T00:00:00Z", plan_type: "free_daily", tokens_limit: 1_000_000 },
  { beside: 1 },
  { source: "user_profiles", tokens_remaining: 1_000_000, tokens_used: 0, total_cost: "x" },
  { source: "counter_beyond_grants" },
  { given_back_for: "x", reissued_for: 1, expires_at: "x", plan: "free_daily" },
  { reason: "reconciliation: balance_lower", transaction_id: 1 },
];

/** Now and then: what a change to a lower plan says in the ledger, and what packs were called before the books. */
const FORGERIES: Claims[] = [
  {},
  {},
  {},
  { p_action_type: "plan_change", p_metadata: { effective_at: "x", plan_type: "free_daily" } },
  { p_action_type: "pack_purchase" },
];

/** Every name that means something to the books, and two that do not. */
async function namesOf(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query("select tokenbook.reserved_action_types() as names");
  return ["chat_conversation", "deduction", ...rows[0].names];
}

interface Told {
  steps: number;
  refused: number;
  /** What a repair would give, what a user brought about that stands, and what the future is taken for. */
  violations: string[];
  /** What may have been sent twice, and is shown. */
  shown: number;
  /** What the verifier says, but for the kinds of entries. */
  breaches: string[];
}

/** Users who say whatever they like of what they use, and what is made of it. */
async function listen(db: Database, names: string[], users: number): Promise<Told> {
  const dice = new Dice(seed);
  const told: Told = { steps: 0, refused: 0, violations: [], shown: 0, breaches: [] };
  for (const [plan, price] of [
    ["daily", 100],
    ["free_daily", 0],
  ] as const)
    await asService(db, (client) =>
      rpc(client, "set_token_plan", {
        p_plan_type: plan,
        p_plan: {
          name: plan,
          tokens: price === 0 ? 1_000_000 : 10,
          issue_every: "day",
          price_cents: price,
          billing_cycle: "monthly",
          rank: price === 0 ? 1 : 5,
        },
        p_reason: "test",
      }),
    );

  for (let n = 0; n < users; n++) {
    const user = await createUser(db);
    const onPlan = dice.chance(0.5);
    if (onPlan)
      await asService(db, (client) =>
        rpc(client, "change_token_plan", { p_user_id: user, p_plan_type: "daily", p_payment_id: "x" }),
      );
    // says anything; or the same request again and again; or has it said by a server that hands it on, and has no keys
    const manner = dice.any(["says anything", "insists", "is echoed"]);
    const isFree = manner === "says anything";
    if (!isFree || dice.chance(0.7)) await grant(db, user, isFree ? dice.any([1, 500, 5_000]) : 5_000);

    for (let step = 0; step < 8; step++) {
      const tokens = isFree ? dice.any([1, 100, 1_000_000]) : 100;
      const action = {
        p_user_id: user,
        p_action_type: isFree ? dice.any(names) : "chat_conversation",
        p_metadata: isFree ? dice.any(WORDS) : WORDS[0],
        ...(isFree && dice.any(FORGERIES)),
      };
      const key = dice.chance(0.3) ? { p_idempotency_key: `key-${step}` } : {};
      const byServer = manner === "is echoed" && dice.chance(0.9);
      const ask = (name: string, args: Claims) => {
        const work = (client: ClientBase) => rpc(client, name, args);
        return byServer ? asService(db, work) : asUser(db, user, work);
      };
      told.steps++;
      try {
        const kind = dice.any(["track", "track", "track", "deduct", "hold"]);
        if (kind === "track")
          await ask("track_token_usage", {
            ...action,
            ...key,
            p_tokens_used: tokens,
            p_success: dice.chance(0.7),
            p_on_shortage: dice.any(["partial", "reject"]),
            p_error_message: "reconciliation",
          });
        if (kind === "deduct")
          await ask("deduct_tokens_with_fifo", { ...action, ...key, p_tokens_to_deduct: tokens });
        if (kind === "hold") {
          const hold = await asUser(db, user, (client) =>
            rpc(client, "reserve_tokens", { ...action, p_tokens: tokens }),
          );
          if (hold.success)
            await asUser(db, user, (client) =>
              rpc(client, "capture_tokens", {
                p_user_id: user,
                p_hold_id: hold.hold_id,
                p_tokens: dice.any([0, tokens]),
              }),
            );
        }
      } catch (error) {
        const { message, constraint } = error as { message: string; constraint?: string };
        expect(constraint ?? message).toMatch(
          /^(invalid_action_type|token_transactions_action_of_a_grant_is_a_grant)$/,
        );
        told.refused++;
      }
    }

    const found: Reconciliation = await asService(db, (client) =>
      rpc(client, "reconcile_user_token_balance", { p_user_id: user }),
    );
    told.shown += found.findings.length;
    if (planRepair(found).delta !== 0 || found.remaining_difference !== 0)
      told.violations.push(
        `${user} would be given ${planRepair(found).delta} for ${JSON.stringify(found.findings)}`,
      );
    if (manner !== "is echoed" && found.findings.length > 0)
      told.violations.push(`${user} has made ${JSON.stringify(found.findings)}`);
    const { rows: due } = await db.admin.query(
      `select (select coalesce(sum(d.tokens_remaining), 0) from tokenbook.due_slots_as_of($1, now() + interval '45 days') d)::text as said,
              (select coalesce(sum((d.slot).tokens_remaining), 0) from tokenbook.due_slots($1, now() + interval '45 days') d)::text as so`,
      [user],
    );
    if (due[0].said !== due[0].so)
      told.violations.push(`${user} is taken to be due ${due[0].said}, not ${due[0].so}`);
  }
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  told.breaches = rows.map((row) => `${row.invariant}: ${row.found}`);
  return told;
}

const figures = ({ steps, refused, violations, shown, breaches }: Told) =>
  `steps=${steps} refused=${refused} shown=${shown} violations=${violations.length} breaches=${breaches.length} seed=${seed}`;

test("nothing that a user says of their use is to be given back, is an alarm, or changes what their plan gives", async () => {
  const db = await createDatabase();
  const told = await listen(db, await namesOf(db), 45);
  await db.drop();

  console.log(`users' words: ${figures(told)}`);
  expect(told.violations).toEqual([]);
  expect(told.breaches).toEqual([]);
  expect(told.shown).toBeGreaterThan(0);
  expect(told.refused).toBeGreaterThan(20);
}, 120_000);

test("nor if no name were reserved: only the verifier names the entries", async () => {
  const db = await createDatabase();
  const names = await namesOf(db);
  await applyMutant(db, "callers-name-anything");
  const told = await listen(db, names, 45);
  await db.drop();

  console.log(`users' words, no name reserved: ${figures(told)}`);
  expect(told.violations).toEqual([]);
  expect(told.breaches.filter((breach) => breach.startsWith("I4 an entry is of one kind"))).not.toEqual([]);
  expect(told.breaches.filter((breach) => breach.startsWith("I9"))).toEqual([]);
}, 120_000);

test.each([
  ["usage-is-what-it-is-called", /would be given [1-9]/],
  ["requests-are-deducted-once", /would be given [1-9]/],
  ["resends-with-keys", /has made .*one_request_deducted_twice/],
  ["plan-changes-known-by-name", /is taken to be due|I9/],
])(
  "the test sees it: %s",
  async (mutant, sign) => {
    const db = await createDatabase();
    const names = await namesOf(db);
    await applyMutant(db, mutant);
    const told = await listen(db, names, 45);
    await db.drop();

    console.log(`users' words, ${mutant}: ${figures(told)}`);
    expect([...told.violations, ...told.breaches].filter((one) => sign.test(one)).length).toBeGreaterThan(0);
  },
  120_000,
);
