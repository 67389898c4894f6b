// @module-tag proof
import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Catalog } from "../../packages/tokenbook/src/catalog/catalog.ts";
import { expectSoundInstallation } from "../support/installation.ts";
import { asUser, rpc } from "../support/roles.ts";
import {
  ann,
  answersOf,
  factsOf,
  type Guest,
  install,
  projects,
  renamed,
  rowsOfOurs,
  startProject,
  statementsOf,
  takenNames,
  touched,
} from "./guest.ts";

/** What an install may write: its settings, and what it has to say. */
const written = { "tokenbook.migration_reports": 1 };

/** Signs somebody up as the auth server does. */
async function signUp(guest: Guest): Promise<string> {
  const client = new pg.Client({ connectionString: guest.db.url("supabase_auth_admin") });
  await client.connect();
  try {
    const id = randomUUID();
    await client.query("insert into auth.users (id, email) values ($1, $2)", [id, `${id}@example.com`]);
    return id;
  } finally {
    await client.end();
  }
}

/** Where the app's own trigger writes when somebody signs up, and in which column their id is. */
const registers: Record<string, [table: string, user: string]> = {
  "c-own-payments": ["public.user_subscriptions", "user_id"],
  "h-newer-profiles": ["public.user_profiles", "user_id"],
  "i-subscription-starter": ["public.users", "id"],
};

async function expectAGuestThatGivesNothing(guest: Guest, name: string): Promise<void> {
  expect(await rowsOfOurs(guest.db), "no row for any of its users").toEqual(written);
  const user = await signUp(guest);
  const balance = await asUser(guest.db, user, (client) => rpc(client, "get_user_token_balance"));
  const old = await asUser(guest.db, ann, (client) => rpc(client, "get_user_token_balance"));
  expect([balance.total_active, old.total_active]).toEqual([0, 0]);
  if (name in registers) {
    const [table, column] = registers[name]!;
    const { rowCount } = await guest.db.admin.query(`select from ${table} where ${column} = $1`, [user]);
    expect(rowCount, "the app's own trigger").toBe(1);
  }
  expect(await rowsOfOurs(guest.db), "nor for one who signs up, or reads a balance").toEqual(written);
  await expectSoundInstallation(guest.db);
}

const asTheyAre = Object.keys(projects).filter((name) => !["b-seed-like", "c-own-payments"].includes(name));

describe.each(asTheyAre)("%s", (name) => {
  let guest: Guest;
  let before: { facts: Catalog; answers: unknown };
  beforeAll(async () => {
    guest = await startProject(name);
    before = { facts: await factsOf(guest.db), answers: await answersOf(guest.db, projects[name]!) };
    await install(guest);
  });
  afterAll(() => guest.remove());

  test("nothing of the app has changed, and it gets the same answers in every role", async () => {
    const after = { facts: await factsOf(guest.db), answers: await answersOf(guest.db, projects[name]!) };

    const changed = await touched(before.facts, after.facts);
    console.log(
      `${name}: facts before=${before.facts.size} after=${after.facts.size} touched=${changed.length} answers=${Object.keys(after.answers).length}`,
    );
    expect(changed).toEqual([]);
    expect(after.answers).toEqual(before.answers);
  });

  test("no user has got anything, and signing up works and gives nothing", () =>
    expectAGuestThatGivesNothing(guest, name));
});

describe.each(["b-seed-like", "c-own-payments"])("%s, which has names of ours", (name) => {
  let guest: Guest;
  let before: { facts: Catalog; answers: unknown };
  let refusal: string;
  beforeAll(async () => {
    guest = await startProject(name);
    before = { facts: await factsOf(guest.db), answers: await answersOf(guest.db, projects[name]!) };
    refusal = await install(guest).then(
      () => "it installed",
      (error: Error) => error.message,
    );
  });
  afterAll(() => guest.remove());

  test("is refused before anything is changed, with every collision in one list", async () => {
    const after = await factsOf(guest.db);
    const { relations, functions } = await takenNames();
    const { rows } = await guest.db.admin.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relname = any ($1)
       union select proname from pg_proc where pronamespace = 'public'::regnamespace and proname = any ($2) order by 1`,
      [relations, functions],
    );

    console.log(`${name}: collisions=${rows.length}\n${refusal}`);
    expect(rows.length).toBeGreaterThan(0);
    for (const one of rows) expect(refusal).toMatch(new RegExp(`public\\.${one.name}\\b`));
    expect(refusal).toContain("Tokenbook cannot be installed here yet, and nothing was changed.");
    expect([...after]).toEqual([...before.facts]);
    expect(await answersOf(guest.db, projects[name]!)).toEqual(before.answers);
  });

  test("the list says what hangs on each", () => {
    const expected: Record<string, string[]> = {
      "b-seed-like": [
        "view public.balance_of_users",
        "view public.spending",
        "materialized view public.usage_by_model",
        "constraint invoices_balance_id_fkey on table public.invoices",
        "policy own balances on table public.token_balances",
        "trigger stamp on table public.token_usage",
        "function public.spend(uuid,integer) says token_balances",
        "function public.spend(uuid,integer) says token_transactions",
        "function public.total_left() says token_balances",
        "function public.total_used()",
      ],
      "c-own-payments": [
        "function public.get_user_token_balance(uuid), which returns integer, is there already",
        "view public.paying",
        "policy teams of those who can pay on table public.teams",
        "function public.can_ask(uuid) says get_user_token_balance",
      ],
    };

    for (const one of expected[name]!) expect(refusal).toContain(one);
  });

  test("once its statements have run as they stand, it installs, and the app works under the new names", async () => {
    const statements = statementsOf(refusal);
    for (const statement of statements) await guest.db.admin.query(statement);
    const mended = await factsOf(guest.db);
    const asked = await Promise.all(projects[name]!.map(renamed));
    const answersBefore = JSON.parse(await renamed(JSON.stringify(before.answers)));

    await install(guest);

    const changed = await touched(mended, await factsOf(guest.db));
    console.log(`${name}: statements=${statements.length} facts=${mended.size} touched=${changed.length}`);
    expect(changed).toEqual([]);
    expect(JSON.parse(JSON.stringify(await answersOf(guest.db, asked)))).toEqual(answersBefore);
    await expectAGuestThatGivesNothing(guest, name);
  });
});

test("a project whose new tables and functions are closed keeps that as well, and is found sound", async () => {
  const guest = await startProject("e-own-private", { defaultPrivileges: "none", byCli: false });
  const before = await factsOf(guest.db);
  await install(guest);

  const changed = await touched(before, await factsOf(guest.db));
  await expectSoundInstallation(guest.db);
  await guest.remove();
  expect(changed).toEqual([]);
});
