// @module-tag proof
/** `tokenbook import`: balances that users have elsewhere, by the real command. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { run } from "../support/command.ts";
import { startStripeApi } from "../functions/stripe-api.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenbook-import-"));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  db = await createDatabase();
  return async () => {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    await expectCleanBooks(db);
    const discrepancies = await db.admin.query("select * from public.find_token_discrepancies()");
    await db.drop();
    expect([rows, discrepancies.rows]).toEqual([[], []]);
  };
});

const imports = async (...args: string[]) => {
  const said = await run("import", [...args, "--json", "--db-url", db.url()]);
  expect(said).toMatchObject({ status: 0, stderr: "" });
  return JSON.parse(said.stdout);
};
/** Users who were there before: they have no books, for there was no default plan. */
const people = (count: number) =>
  Promise.all(Array.from({ length: count }, (_, nth) => createUser(db, { email: `user${nth}@example.com` })));
const balance = async (user: string) => {
  const { total_active, total_owed, grants } = await asUser(db, user, (client) =>
    rpc(client, "get_user_token_balance", {}),
  );
  return { total_active, total_owed, grants };
};

test("a column of any table: a dry run changes nothing, a run books once, and the rules are said", async () => {
  const users = await people(7);
  await db.admin.query(
    "create table public.profiles (id uuid primary key references auth.users (id), credits numeric)",
  );
  const credits = [100, 2.75, 0, null, -40, 12.5, 7];
  for (const [nth, user] of users.entries())
    await db.admin.query("insert into public.profiles values ($1, $2)", [user, credits[nth]]);
  await asService(db, (client) =>
    rpc(client, "grant_tokens", { p_user_id: users[6], p_tokens: 5, p_grant_type: "purchase" }),
  );
  const from = ["--from", "profiles.credits", "--times", "1000"];

  const dry = await imports(...from);
  expect(dry).toMatchObject({ rows: 7, sum_in_source: "82.25", taken: 6, tokens: 115_250, owed: 40_000 });
  expect(await balance(users[0]!)).toMatchObject({ total_active: 0 });
  const booked = await imports(...from, "--book", "--checksum", dry.checksum);
  expect(booked).toMatchObject({
    taken: 6,
    tokens: 115_250,
    owed: 40_000,
    without_balance: 2,
    left_out: [{ user: users[6], why: "has books already" }],
    tokens_from_it_before: 0,
    tokens_from_it_after: 75_250,
  });
  const again = await imports(...from, "--book");
  expect(again).toMatchObject({ taken: 0, tokens: 0, done_before: 6, tokens_from_it_after: 75_250 });

  expect(await Promise.all(users.map(async (user) => (await balance(user)).total_active))).toEqual([
    100_000, 2_750, 0, 0, 0, 12_500, 5,
  ]);
  await asService(db, (client) =>
    rpc(client, "grant_tokens", { p_user_id: users[4], p_tokens: 50_000, p_grant_type: "purchase" }),
  );
  expect(await balance(users[4]!)).toMatchObject({ total_active: 10_000, total_owed: 0 });
});

test("a source that has changed since the dry run is refused", async () => {
  const [user] = await people(1);
  await db.admin.query("create table public.wallets (user_id uuid, amount bigint)");
  await db.admin.query("insert into public.wallets values ($1, 5), ($1, 6)", [user]);
  const { checksum, tokens } = await imports("--from", "public.wallets.amount");
  await db.admin.query("update public.wallets set amount = 7 where amount = 6");

  const refused = await run("import", [
    "--from",
    "public.wallets.amount",
    "--book",
    "--checksum",
    checksum,
    "--db-url",
    db.url(),
  ]);
  expect(tokens).toBe(11);
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("Nothing was changed") });
  expect(await balance(user!)).toMatchObject({ total_active: 0 });
});

test("the grants of token_balances keep their type and their end; those that have run out stay behind", async () => {
  const [user, other] = await people(2);
  await db.admin.query(
    `create table public.old_balances (user_id uuid, grant_type text, tokens_remaining integer, granted_at timestamptz, expires_at timestamptz)`,
  );
  await db.admin.query(
    `insert into public.old_balances values
       ($1, 'annual', 500, now() - interval '1 month', now() + interval '11 months'), ($1, 'purchase', 70, now(), null),
       ($1, 'trial', 9, now() - interval '1 year', now() - interval '1 day'), ($2, 'strange', 3, now(), null), ($2, 'purchase', -2, now(), null)`,
    [user, other],
  );

  const booked = await imports("--from", "token_balances=public.old_balances", "--book");
  expect(booked).toMatchObject({ rows: 5, taken: 2, grants: 3, tokens: 573, owed: 0 });
  expect(booked.left_out).toEqual([
    { user, why: "a grant that has run out" },
    { user: other, why: expect.stringContaining("a grant below zero") },
  ]);
  const { grants } = await balance(user!);
  expect(
    grants.map((one: { grant_type: string; tokens_remaining: number }) => [
      one.grant_type,
      one.tokens_remaining,
    ]),
  ).toEqual([
    ["annual", 500],
    ["purchase", 70],
  ]);
});

test("the counters of user_profiles: the highest of several profiles, and what was used", async () => {
  const [user] = await people(1);
  await db.admin.query("drop table public.user_profiles cascade");
  await db.admin.query(
    `create table public.user_profiles (id uuid primary key default gen_random_uuid(), user_id uuid,
       vibe_assistant_tokens_remaining integer, vibe_assistant_tokens_used integer, vibe_assistant_total_cost numeric(10, 4))`,
  );
  await db.admin.query(
    "insert into public.user_profiles (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost) values ($1, 90, 10, 0.12), ($1, 40, 10, 0.12)",
    [user],
  );

  expect(await imports("--from", "user_profiles", "--book")).toMatchObject({ rows: 1, taken: 1, tokens: 90 });
  expect(await balance(user!)).toMatchObject({ total_active: 90 });
});

test("a dump of the MySQL database of 2025: users by address, NULL is the plan's limit", async () => {
  const [first, second] = await people(2);
  const dump = join(folder, "dump.sql");
  await writeFile(
    dump,
    [
      "-- MySQL dump 10.13  Distrib 8.0.36",
      "CREATE TABLE `users` (",
      "  `id` int NOT NULL AUTO_INCREMENT,",
      "  `email` varchar(255) NOT NULL,",
      "  `username` varchar(100) NOT NULL,",
      "  `bio` text,",
      "  `tokens_remaining` int DEFAULT NULL,",
      "  PRIMARY KEY (`id`),",
      "  UNIQUE KEY `email` (`email`)",
      ") ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4;",
      "INSERT INTO `users` VALUES (1,'User0@Example.com','o\\'neil','a (b), \\\"c\\\"\\n漢字;',9910),(2,'user1@example.com','x''y',NULL,NULL),(3,'gone@example.com','z','',5);",
      "CREATE TABLE `user_subscriptions` (",
      "  `id` int NOT NULL,",
      "  `user_id` int NOT NULL,",
      "  `tokens_limit` int DEFAULT '10000'",
      ") ENGINE=InnoDB;",
      "INSERT INTO `user_subscriptions` VALUES (1,1,10000),(2,2,2010000);",
      "INSERT INTO `token_usage_history` (`id`, `user_id`, `tokens_used`, `action`) VALUES (1,1,60,'chat'),(2,1,30,NULL);",
      "",
    ].join("\n"),
  );

  const booked = await imports("--from", "mysql-dump", "--file", dump, "--book");
  expect(booked).toMatchObject({ rows: 3, sum_in_source: "2,019,915", taken: 2, tokens: 2_019_910 });
  expect(booked.left_out).toEqual([{ user: "gone@example.com", why: "no such user" }]);
  expect([await balance(first!), await balance(second!)]).toMatchObject([
    { total_active: 9_910 },
    { total_active: 2_010_000 },
  ]);
});

test("Stripe's credit grants by a mapping of customers; a CSV by address", async () => {
  const [first, second] = await people(2);
  const [grants, mapping, csv] = ["grants.json", "map.csv", "some.csv"].map((file) => join(folder, file)) as [
    string,
    string,
    string,
  ];
  const credit = (id: string, customer: string, value: number, more = {}) => ({
    id,
    object: "billing.credit_grant",
    customer,
    category: "paid",
    amount: { type: "monetary", monetary: { currency: "usd", value } },
    effective_at: 1_760_000_000,
    expires_at: null,
    voided_at: null,
    metadata: {},
    ...more,
  });
  await writeFile(
    grants,
    JSON.stringify({
      object: "list",
      data: [
        credit("credgr_1", "cus_a", 1_000),
        credit("credgr_2", "cus_a", 500, { voided_at: 1_760_000_001 }),
        credit("credgr_3", "cus_b", 700, { expires_at: 1_760_000_002 }),
        credit("credgr_4", "cus_c", 20),
      ],
    }),
  );
  await writeFile(mapping, `cus_a,user0@example.com\ncus_b,${second}\n`);
  await writeFile(
    csv,
    "﻿Email,Credits\nUSER1@example.com,1e3\nuser1@example.com,0.5\n,7\nuser0@example.com,seven\n",
  );

  const stripe = await imports(
    "--from",
    "stripe-credits",
    "--file",
    grants,
    "--mapping",
    mapping,
    "--times",
    "2.5",
    "--book",
  );
  expect(stripe).toMatchObject({ rows: 3, tokens: 2_500, taken: 2 });
  expect(stripe.left_out.map(({ why }: { why: string }) => why)).toEqual([
    "a grant that has run out",
    "no such user",
  ]);
  const fromCsv = await imports("--from", "csv", "--file", csv);
  expect(fromCsv).toMatchObject({ rows: 4, sum_in_source: "1,000.5" });
  expect(fromCsv.left_out.map(({ why }: { why: string }) => why)).toEqual([
    "the row names no user",
    "seven is no amount",
    "has books already",
  ]);
  expect((await balance(first!)).total_active).toBe(2_500);
  expect(await readFile(csv, "utf8")).toContain("seven");
});

test("credit grants as they stand at Stripe: all pages, what is left of each, and nothing is written there", async () => {
  const [ann, ben] = await people(2);
  const api = await startStripeApi();
  try {
    for (let nth = 0; nth < 150; nth++) {
      api.credits.push({
        id: `credgr_${nth}`,
        object: "billing.credit_grant",
        created: 1_760_000_000 + nth,
        customer: nth % 2 === 0 ? "cus_a" : "cus_b",
        amount: { type: "monetary", monetary: { currency: "usd", value: 1_000 } },
        category: "paid",
        effective_at: 1_760_000_000 + nth,
        expires_at: null,
        voided_at: nth === 4 ? 1_760_000_001 : null,
        metadata: nth === 1 ? { user_id: ann } : {},
        left: nth === 2 ? 0 : 10,
      });
    }
    const mapping = join(folder, "customers.csv");
    await writeFile(mapping, `cus_a,${ann}\ncus_b,${ben}\n`);
    const from = ["--from", "stripe-credits", "--mapping", mapping, "--book", "--json", "--db-url", db.url()];

    const silent = await run("import", from);
    expect([silent.status, silent.stderr]).toEqual([2, expect.stringContaining("STRIPE_SECRET_KEY")]);
    const wrong = await run("import", from, { ...api.settings, STRIPE_SECRET_KEY: "rk_another" });
    expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining("Stripe says")]);
    expect(wrong.stderr).not.toContain("rk_another");
    api.asked.length = 0;

    const said = await run("import", from, api.settings);

    expect(said).toMatchObject({ status: 0, stderr: "" });
    // 73 of cus_a with 10 left each, one by its metadata; 74 of cus_b
    expect(JSON.parse(said.stdout)).toMatchObject({
      rows: 149,
      sum_in_source: "1,480",
      taken: 2,
      tokens: 1_480,
    });
    expect((await balance(ann!)).total_active).toBe(740);
    expect((await balance(ben!)).total_active).toBe(740);
    expect(api.asked.filter(({ path }) => path.includes("credit_grants"))).toHaveLength(2);
    expect(api.asked.filter(({ method }) => method !== "GET")).toEqual([]);
  } finally {
    await api.close();
  }
});

test.for([
  [["--from", "nowhere"], "is no column"],
  [["--from", "nowhere.credits"], "There is no column public.nowhere.credits"],
  [["--from", "csv"], "--file"],
  [["--from", "csv", "--file", "/nowhere.csv"], "cannot be read"],
  [["--from", "auth.users.id", "--times", "0"], "above 0"],
  [["--from", "auth.users.id", "--grant-type", "gold"], "no type of grants"],
] as const)("%s: it says what is wrong, and ends with 2", async ([args, words]) => {
  const said = await run("import", [...args, "--db-url", db.url()]);
  expect([said.status, said.stderr]).toEqual([2, expect.stringContaining(words)]);
  expect(said.stderr).not.toMatch(/^ +at /m);
});
