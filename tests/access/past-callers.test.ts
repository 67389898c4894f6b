/** Former users, admins and members: every function of the API, called by each of them. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { argumentsAbout, type Callable, callablesOf, callOf } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { digestQuery } from "../support/digest.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

/** Where they stand in the way of what is asked; what is not here answers as it does for anybody. */
const stops: Record<"frozen" | "deleted", Record<string, string>> = {
  /** By the user themself, an admin or the server: nothing is spent, held, asked for or begun. */
  frozen: {
    deduct_tokens_with_fifo: "account_frozen",
    deduct_tokens_batch: "account_frozen",
    track_token_usage: "account_frozen",
    reserve_tokens: "account_frozen",
    create_token_payment: "account_frozen",
    prepare_token_checkout: "account_frozen", // what it is asked for here nobody sells: tests/payments/checkout.test.ts
    redeem_token_code: "account_frozen",
    claim_token_referral: "account_frozen", // they have paid: tests/codes/referrals.test.ts
    set_token_top_up: "account_frozen",
    change_token_plan: "account_frozen",
  },
  /** By the server or an admin: a use that has happened is booked, and nothing new is begun. */
  deleted: {
    reserve_tokens: "user_not_found",
    create_token_payment: "user_not_found",
    prepare_token_checkout: "user_not_found", // the same
    redeem_token_code: "user_not_found",
    claim_token_referral: "user_not_found", // the same
    set_token_top_up: "user_not_found",
    change_token_plan: "user_not_found",
    set_token_subject: "user_not_found", // the server's alone
  },
};

let db: Database;
let admin: string;
let functions: Callable[];
let lives: Record<"active" | "frozen" | "deleted", PopulatedUser>;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  functions = (await callablesOf(db)).filter(({ schema }) => schema === "public");
  lives = { active: await populateUser(db), frozen: await populateUser(db), deleted: await populateUser(db) };
  await asService(db, (client) =>
    rpc(client, "set_token_account_state", {
      p_user_id: lives.frozen.id,
      p_state: "frozen",
      p_reason: "chargebacks",
    }),
  );
  await db.admin.query("delete from auth.users where id = $1", [lives.deleted.id]);
});
afterAll(() => db.drop());

type Caller = <T>(work: (client: pg.ClientBase) => Promise<T>) => Promise<T>;

class TakenBack extends Error {}

/** What row level security on an app's own tables asks. */
const askedByPolicies = ["public.can_spend_tokens", "public.has_token_plan"];

/** What comes of a call, in one word or a refusal's slug; whatever it did is taken back unless `keeps`. */
async function outcomeOf(
  as: Caller,
  fn: Callable,
  life: PopulatedUser,
  { keeps = false, key = true, ifFalse = "answers" } = {},
): Promise<string> {
  const args = argumentsAbout(life, fn);
  if (key && fn.parameters.some(({ name }) => name === "p_idempotency_key"))
    args["p_idempotency_key"] = randomUUID();
  const { sql, values } = callOf(fn, args);
  let outcome = "answers";
  try {
    await as(async (client) => {
      const { rows } = await client.query(sql, values);
      // an item of a batch is refused by itself
      outcome = rows[0]?.value?.results?.[0]?.error?.code ?? (rows[0]?.value === false ? ifFalse : "answers");
      if (!keeps) throw new TakenBack();
    });
  } catch (error) {
    if (!(error instanceof TakenBack)) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined) throw error;
      outcome = code === "42501" && message.startsWith("permission denied") ? "ungranted" : message;
    }
  }
  return outcome;
}

/** What comes of calling every function, by name. */
async function outcomesOf(as: Caller, life: PopulatedUser): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const fn of functions) found[fn.name.replace("public.", "")] = await outcomeOf(as, fn, life);
  return found;
}

/** The same, with what stops in its place. */
const withStops = (ordinary: Record<string, string>, because: Record<string, string>) => ({
  ...ordinary,
  ...Object.fromEntries(Object.entries(because).filter(([name]) => ordinary[name] === "answers")),
});

const server: Caller = (work) => asService(db, work);
const adminOf =
  (id: string): Caller =>
  (work) =>
    asAdmin(db, id, work);
const userOf =
  (id: string): Caller =>
  (work) =>
    asUser(db, id, work);

test("every function but a few has something to do, so that what stops is seen", async () => {
  const outcomes = Object.entries(await outcomesOf(server, lives.active));
  expect(Object.fromEntries(outcomes.filter(([, outcome]) => outcome !== "answers"))).toEqual({
    acknowledge_token_finding: "finding_not_found",
    claim_token_referral: "referral_not_possible",
    dismiss_parked_token_payment: "payment_already_decided",
    prepare_token_checkout: "invalid_purchase",
    record_token_subscription_event: "invalid_provider_event",
    refund_token_payment: "payment_already_decided",
    renew_token_subscription: "not_due_yet",
    reverse_token_restatement: "restatement_not_found",
    set_token_limit: "invalid_limit",
  });
});

test.each(["frozen", "deleted"] as const)(
  "the server and admins settle for a user who is %s, and begin nothing new",
  async (kind) => {
    for (const as of [server, adminOf(admin)]) {
      const ordinary = await outcomesOf(as, lives.active);
      expect(Object.keys(stops[kind]).filter((name) => !(name in ordinary))).toEqual([]);
      expect(await outcomesOf(as, lives[kind])).toEqual(withStops(ordinary, stops[kind]));
    }
  },
);

test("the guide has every function that changes something, and says which of them stop", async () => {
  const guide = readFileSync(join(projectRoot, "docs/guides/frozen-accounts.md"), "utf8");
  const lines = guide.split("\n").filter((line) => line.startsWith("| `") || /^\| [a-z].*`/.test(line));
  const told = lines.flatMap((line) => {
    const [, what, frozen, deleted] = line.split("|");
    return [...what!.matchAll(/`([a-z_]+)`/g)].map(([, name]) => ({ name: name!, frozen, deleted }));
  });
  const { rows } = await db.admin.query<{ name: string }>(
    "select proname as name from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v' and proname like '%token%'",
  );
  const changing = rows
    .map(({ name }) => name)
    .filter((name) => functions.some((fn) => fn.name === `public.${name}`));
  expect(changing.filter((name) => !told.some((line) => line.name === name))).toEqual([]);
  for (const kind of ["frozen", "deleted"] as const)
    expect(
      told
        .filter((line) => line[kind]!.includes("stops"))
        .map(({ name }) => name)
        .toSorted(),
      kind,
    ).toEqual(Object.keys(stops[kind]).toSorted());
});

test("a user whose account is frozen reads and settles as ever", async () => {
  const ordinary = await outcomesOf(userOf(lives.active.id), lives.active);
  expect(await outcomesOf(userOf(lives.frozen.id), lives.frozen)).toEqual(withStops(ordinary, stops.frozen));
});

describe("a token outlives its right", () => {
  /** Functions that let the holder of such a token through, and whether a row was left behind. */
  async function letThrough(
    as: Caller,
    about: PopulatedUser,
    refusal: string,
  ): Promise<{ let: string[]; left: boolean }> {
    const digest = await digestQuery(db.admin);
    const look = async () => (await db.admin.query(digest)).rows[0].digest as string;
    const before = await look();
    const through: string[] = [];
    for (const fn of functions) {
      // a policy is answered: no
      const ifFalse = askedByPolicies.includes(fn.name) ? refusal : "answers";
      const outcome = await outcomeOf(as, fn, about, { keeps: true, ifFalse });
      if (outcome !== refusal && outcome !== "ungranted") through.push(`${fn.name}: ${outcome}`);
    }
    return { let: through, left: (await look()) !== before };
  }
  const nothing = { let: [], left: false };

  test("of a deleted user: not authenticated, whatever is asked, about themself or another", async () => {
    const as = userOf(lives.deleted.id);
    expect(await letThrough(as, lives.deleted, "not_authenticated")).toEqual(nothing);
    expect(await letThrough(as, lives.active, "not_authenticated")).toEqual(nothing);
  });

  test("of a user whose row the auth server keeps as deleted: not authenticated either", async () => {
    const kept = await populateUser(db);
    await db.admin.query("update auth.users set deleted_at = now() where id = $1", [kept.id]);
    expect(await letThrough(userOf(kept.id), kept, "not_authenticated")).toEqual(nothing);
  });

  test("of a subject that never was: not authenticated, and no table has a row of it", async () => {
    const never = randomUUID();
    expect(await letThrough(userOf(never), { ...lives.active, id: never }, "not_authenticated")).toEqual(
      nothing,
    );
  });

  test("of a former admin: forbidden", async () => {
    const former = await createUser(db, { admin: true });
    await db.admin.query("delete from tokenbook.admins where user_id = $1", [former]);
    expect(await letThrough(adminOf(former), lives.active, "forbidden")).toEqual(nothing);
  });

  test("of an admin who was deleted and is still on the list: not authenticated", async () => {
    const gone = await createUser(db, { admin: true });
    await db.admin.query("delete from auth.users where id = $1", [gone]);
    expect(await letThrough(adminOf(gone), lives.active, "not_authenticated")).toEqual(nothing);
  });

  test("the test sees it: a token alone is enough", { tags: ["proof"] }, async () => {
    const own = await createDatabase();
    await applyMutant(own, "deleted-users-go-on");
    const never = randomUUID();
    const answer = await asUser(own, never, (client) =>
      rpc(client, "create_token_payment", { p_user_id: never, p_to_plan: "starter" }),
    ).catch((error: { message: string }) => error.message);
    expect(answer).not.toBe("not_authenticated");
    const spent = await asUser(own, never, (client) =>
      rpc(client, "track_token_usage", { p_user_id: never, p_action_type: "chat", p_tokens_used: 0 }),
    );
    expect(spent).toMatchObject({ success: true });
    const { rowCount } = await own.admin.query("select from public.token_accounts where user_id = $1", [
      never,
    ]);
    expect(rowCount).toBe(1);
    await own.drop();
  });
});
