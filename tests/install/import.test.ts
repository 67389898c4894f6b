// @module-tag proof
/** `tokenbook import`: balances that users have elsewhere, by the real command. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { run, runHere } from "../support/command.ts";
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
  const said = await runHere("import", [...args, "--json", "--db-url", db.url()]);
  const report = JSON.parse(said.stdout);
  expect(said).toMatchObject({ status: report.taken + report.done_before > 0 ? 0 : 1, stderr: "" });
  return report;
};
/** The same in this process, in words. */
const says = (...args: string[]) => runHere("import", [...args, "--db-url", db.url()]);
/** The users who are left out, and why. */
const whys = ({ left_out }: { left_out: { user: string; why: string; value?: string }[] }) =>
  left_out.map(({ user, why, value }) => `${user}: ${why}${value === undefined ? "" : `, ${value}`}`);
/** What is in the grants: tokens, type, and when it begins and ends. */
const grantsOf = async (user: string) => {
  const { rows } = await db.admin.query(
    `select tokens_granted::integer as tokens, grant_type as type, to_char(expires_at at time zone 'utc', 'YYYY-MM-DD HH24:MI') as ends
       from public.token_balances where user_id = $1 order by tokens_granted desc`,
    [user],
  );
  return rows.map(({ tokens, type, ends }) => [tokens, type, ends]);
};
const file = async (name: string, text: string) => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
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
  const [first, second, , third, fourth] = await people(5);
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
      "INSERT INTO `users` VALUES (1,'User0@Example.com','o\\'neil','a (b), \\\"c\\\"\\n漢字;',9910),(2,'user1@example.com','x''y',NULL,NULL),(3,'gone@example.com','z','',5)",
      ",(4,'moved@example.com','v','',NULL),(5,'old@Example.com','w','',8);",
      "CREATE TABLE `user_subscriptions` (",
      "  `id` int NOT NULL,",
      "  `user_id` int NOT NULL,",
      "  `tokens_limit` int DEFAULT '10000',",
      "  `is_active` tinyint(1) DEFAULT '1'",
      ") ENGINE=InnoDB;",
      "INSERT INTO `user_subscriptions` VALUES (1,1,10000,1),(2,2,7,0),(3,2,2010000,1),(4,4,2000000,0);",
      "INSERT INTO `token_usage_history` (`id`, `user_id`, `tokens_used`, `action`) VALUES (1,1,60,'chat'),(2,1,30,NULL);",
      "-- Dump completed on 2025-11-20 10:00:00",
      "",
    ].join("\n"),
  );
  const mapping = await file(
    "mapping.csv",
    "4,user3@example.com\nOLD@example.com,user4@example.com\n77,user0@example.com\n",
  );

  const from = ["--from", "mysql-dump", "--file", dump, "--mapping", mapping];
  const booked = await imports(...from, "--book");
  expect(booked).toMatchObject({ rows: 5, sum_in_source: "2,019,923", taken: 4, tokens: 2_019_918 });
  expect(booked.left_out).toEqual([{ user: "gone@example.com", why: "no such user" }]);
  expect(booked.notes).toContainEqual(expect.stringContaining("2 of 3 lines of"));
  const balances = await Promise.all([first, second, third, fourth].map((user) => balance(user!)));
  // the plan of the third is not in force
  expect(balances.map(({ total_active }) => total_active)).toEqual([9_910, 2_010_000, 0, 8]);
});

test("Stripe's credit grants by a mapping of customers; a CSV by address", async () => {
  const [first, second] = await people(2);
  const [grants, mapping, csv] = ["grants.json", "map.csv", "some.csv"].map((name) => join(folder, name)) as [
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
    "no amount",
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
    // of neither can be said how many tokens it is
    const other = { ...api.credits[0]!, created: 1_759_000_000 };
    const unit = { type: "custom_pricing_unit", custom_pricing_unit: { value: "9" } };
    api.credits.push(
      { ...other, id: "credgr_unit", amount: unit },
      { ...other, id: "credgr_silent", left: null as unknown as number },
    );
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
      rows: 151,
      sum_in_source: "1,480",
      taken: 2,
      tokens: 1_480,
      left_out: [
        { user: "cus_a", why: expect.stringContaining("custom_pricing_unit") },
        { user: "cus_a", why: expect.stringContaining("does not say what is left") },
      ],
    });
    expect((await balance(ann!)).total_active).toBe(740);
    expect((await balance(ben!)).total_active).toBe(740);
    expect(api.asked.filter(({ path }) => path.includes("credit_grants"))).toHaveLength(2);
    expect(api.asked.filter(({ method }) => method !== "GET")).toEqual([]);
  } finally {
    await api.close();
  }
});

test(
  "a CSV: a user's rows are rounded once, lifetimes are the import's, and moments mean one thing",
  { timeout: 90_000 },
  async () => {
    const users = await people(9);
    await db.admin.query(
      "update auth.users set email = 'user7@example.com', is_sso_user = true where id = $1",
      [users[8]],
    );
    const csv = await file(
      "some.csv",
      [
        "User_ID,Email,Credits,Grant_Type,Granted_At,Expires_At",
        `${users[0]},,0.5,,,`,
        ",USER0@example.com,0.5,,,",
        "",
        `${users[1]},,10,Annual,2026-01-01,2990-02-01`,
        `${users[1]},,0.5,annual,2026-01-01,2990-02-01T00:00Z`,
        `${users[1]},,0.5,annual,2026-01-01,2990-02-01T00:00Z`,
        `${users[1]},,20,purchase,2026-01-01 05:30:00.123456+05:30,2990-02-01 02:00:00+02`,
        `${users[2]},,5,purchase,2990-01-01,`,
        `${users[3]},,1e13,,,`,
        `${users[4]},,1e300,,,`,
        `${users[5]},,7,gold,,`,
        ",user7@example.com,9,,,",
        `${users[6]},,3,trial,,`,
        `${users[6]},,seven,,,`,
      ].join("\n"),
    );
    const from = ["--from", "csv", "--file", csv];
    const { checksum } = await imports(...from, "--lifetime-days", "30");
    const later = await file("later.csv", (await readFile(csv, "utf8")).replaceAll("2990-02", "2991-02"));
    expect((await imports("--from", "csv", "--file", later, "--lifetime-days", "30")).checksum).not.toBe(
      checksum,
    );

    const booked = await imports(...from, "--lifetime-days", "30", "--checksum", checksum, "--book");
    expect(booked).toMatchObject({ rows: 13, taken: 3, tokens: 39, without_balance: 0 });
    expect(whys(booked).toSorted()).toEqual(
      [
        `${users[2]}: a grant that begins later: grant it then`,
        `${users[3]}: more than there can be (1,000,000,000,000 tokens): is --times right?`,
        `${users[4]}: no amount, 1e300`,
        `${users[6]}: no amount, seven`,
        "user7@example.com: an address that several users have",
      ].toSorted(),
    );
    expect(booked.notes).toContainEqual("there is no type of grants gold: 1 of it become purchase");
    const soon = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10);
    expect(await grantsOf(users[0]!)).toEqual([[1, "purchase", expect.stringContaining(soon)]]);
    expect(await grantsOf(users[1]!)).toEqual([
      [20, "purchase", "2990-02-01 00:00"],
      [11, "annual", "2990-02-01 00:00"],
    ]);
    expect(await grantsOf(users[5]!)).toEqual([[7, "purchase", expect.stringContaining(soon)]]);

    for (const [text, words] of [
      [`user,tokens,expires_at\n${users[6]},1,01/02/2027`, "line 2: 01/02/2027 is no moment"],
      [`user,tokens,expires_at\n\n${users[6]},1,5`, "line 3: 5 is no moment"],
      [`user,tokens,expires_at\n${users[6]},1,2027-02-30`, "2027-02-30 is no moment"],
      [`user,tokens,credits\n${users[6]},,1`, "tokens and credits: which is the balance"],
      [`user,tokens,tokens\n${users[6]},1,2`, "two columns tokens"],
      [`user,price\n${users[6]},1`, "one of tokens, amount, credits or balance"],
    ] as const) {
      const said = await says("--from", "csv", "--file", await file("w.csv", text), "--book");
      expect([said.status, said.stderr]).toEqual([2, expect.stringContaining(words)]);
    }
    const none = await says("--from", "csv", "--file", await file("n.csv", "user,tokens\n"));
    expect([none.status, none.stdout]).toEqual([1, expect.stringContaining("Nobody could be taken.")]);
    expect(
      (
        await imports(
          "--from",
          "csv",
          "--file",
          await file("t.csv", `user,tokens,grant_type\n${users[6]},3,trial`),
        )
      ).left_out,
    ).toEqual([{ user: users[6], why: expect.stringContaining("--lifetime-days") }]);
  },
);

test("Stripe's credit grants: one currency, what is money, and what has begun", async () => {
  const [ann, ben, cia, dan] = await people(4);
  const soon = Math.round(Date.now() / 1_000) + 86_400;
  let nth = 0;
  const credit = (user: string | undefined, amount: object, more = {}) => ({
    id: `credgr_${++nth}`,
    amount,
    category: "promotional",
    effective_at: 1_760_000_000,
    expires_at: null,
    metadata: { user_id: user },
    ...more,
  });
  const money = (value: number, currency = "usd") => ({ type: "monetary", monetary: { currency, value } });
  const grants = await file(
    "several.json",
    JSON.stringify([
      credit(ann, money(1_000)),
      credit(ann, money(500), { category: "paid" }),
      credit(ann, money(50), { effective_at: soon }),
      credit(ben, money(70, "jpy")),
      credit(cia, { type: "custom_pricing_unit", custom_pricing_unit: { value: "12" } }),
      credit(dan, money(9), { effective_at: soon }),
    ]),
  );
  const from = ["--from", "stripe-credits", "--file", grants, "--lifetime-days", "365", "--book"];
  const refused = await says(...from);
  expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining("in usd and in jpy")]);

  const booked = await imports(...from, "--currency", "USD");
  expect(booked).toMatchObject({ rows: 6, taken: 1, tokens: 1_500 });
  expect(whys(booked)).toEqual([
    `${ann}: a grant that begins later: grant it then`,
    `${ben}: a grant in jpy`,
    `${cia}: a grant of custom_pricing_unit, and of no money: how many tokens it is nobody says`,
    `${dan}: a grant that begins later: grant it then`,
  ]);
  const end = new Date(Date.now() + 365 * 86_400_000).toISOString().slice(0, 10);
  expect(await grantsOf(ann!)).toEqual([[1_500, "purchase", expect.stringContaining(end)]]);
  // a user who was left out has no books, and can be imported once the row is corrected
  const { rows } = await db.admin.query("select user_id from public.token_accounts");
  expect(rows).toEqual([{ user_id: ann }]);
});

test("moments of a database mean the same whatever its DateStyle and TimeZone are, and the machine's", async () => {
  const users = await people(4);
  await db.admin.query(
    "create table public.old (user_id uuid, grant_type text, tokens_remaining bigint, granted_at timestamp, expires_at timestamp, since timestamptz)",
  );
  await db.admin.query(
    `insert into public.old values ($1, 'annual', 5, '2026-01-01', '2990-02-01 00:00'), ($2, 'purchase', 6, '-infinity', null),
       ($3, 'purchase', 7, '2026-01-01', '10000-01-01'), ($4, 'purchase', 8, '2026-01-01', '-infinity')`,
    users,
  );
  const { rows } = await db.admin.query("select current_database() as name");
  await db.admin.query(`alter database "${rows[0].name}" set datestyle = 'SQL, DMY'`);
  await db.admin.query(`alter database "${rows[0].name}" set timezone = 'Asia/Kolkata'`);
  const said = await run(
    "import",
    ["--from", "token_balances=old", "--book", "--json", "--db-url", db.url()],
    { TZ: "America/New_York" },
  );
  const report = JSON.parse(said.stdout);
  expect(report).toMatchObject({ taken: 2, without_balance: 1, tokens: 5 });
  expect(whys(report).toSorted()).toEqual(
    [
      `${users[1]}: no moment that can be kept, -infinity`,
      `${users[2]}: no moment that can be kept, 10000-01-01 00:00:00`,
      `${users[3]}: a grant that has run out`,
    ].toSorted(),
  );
  expect(await grantsOf(users[0]!)).toEqual([[5, "annual", "2990-02-01 00:00"]]);
});

test("the user of a row and the tokens of a unit are not guessed", { timeout: 90_000 }, async () => {
  const [ann, ben, cia] = await people(3);
  await db.admin.query(
    "create table public.wallets (created_by uuid references auth.users, user_id uuid, credits bigint)",
  );
  await db.admin.query("insert into public.wallets values ($1, $1, 100), ($1, $2, 50)", [ann, ben]);
  const from = ["--from", "wallets.credits"];
  const several = await says(...from, "--book");
  expect([several.status, several.stderr]).toEqual([
    2,
    expect.stringContaining("created_by, user_id. Name it"),
  ]);
  const shadowed = await runHere("shadow", [...from, "--start", "--db-url", db.url()]);
  expect([shadowed.status, shadowed.stderr]).toEqual([
    2,
    expect.stringContaining("created_by, user_id. Name it"),
  ]);
  const trial = await says(...from, "--user-column", "user_id", "--grant-type", "trial");
  expect([trial.status, trial.stderr]).toEqual([2, expect.stringContaining("--lifetime-days")]);

  from.push("--user-column", "user_id");
  expect(await imports(...from, "--times", "1e3", "--book")).toMatchObject({
    taken: 2,
    tokens: 150_000,
    times: "1000",
  });
  await db.admin.query("insert into public.wallets values ($1, $2, 7)", [ann, cia]);
  const other = await says(...from, "--times", "1", "--book");
  expect([other.status, other.stderr]).toEqual([1, expect.stringContaining("was imported --times 1000")]);
  const again = await says(...from);
  expect(again.stdout).toContain("1 user, 7,000 tokens in 1 grant\n");
  expect(again.stdout).toContain("--times 1000, as it was imported before");
  expect(await imports(...from, "--times", "1000.0", "--book")).toMatchObject({
    taken: 1,
    tokens: 7_000,
    done_before: 2,
  });
  expect((await says(...from)).stdout).toContain("there is nothing to book");
  expect((await says(...from, "--book")).stdout).toContain(
    "npx tokenbook shadow --from wallets.credits --user-column user_id --start\n",
  );

  expect(await runHere("shadow", [...from, "--start", "--db-url", db.url()])).toMatchObject({ status: 0 });
  const followed = await says(...from);
  expect(followed.stdout).not.toContain("To book exactly this");
  for (const [source, words] of [
    ["wallets.credits", ""],
    ["token_balances=public.token_balances", ""],
    ["csv", ""],
    ["user_profiles", "There is no column public.user_profiles.vibe_assistant_tokens_remaining."],
  ] as const) {
    const check = await runHere("check", ["--import", source, "--db-url", db.url()]);
    expect([source, check.stderr.trim()]).toEqual([source, words]);
  }
});

test("the user of a row is not guessed from columns for an inviter or a creator, nor from one of several", async () => {
  const [ann, ben] = await people(2);
  const said: Record<string, string> = {};
  for (const columns of [
    "id uuid primary key, invited_by uuid references auth.users",
    "id uuid primary key, friend uuid references auth.users",
    "nth bigint primary key, id uuid, referrer_id uuid references auth.users",
    "nth bigint primary key, created_by uuid references auth.users",
    "id uuid primary key, owner_id uuid references auth.users",
    "id uuid primary key, user_id uuid",
    "nth bigint primary key, wallet_of uuid references auth.users",
    "id uuid primary key",
    "nth bigint primary key",
  ]) {
    await db.admin.query(
      `drop table if exists public.w; create table public.w (${columns}, credits integer)`,
    );
    const { status, stdout, stderr } = await says("--from", "w.credits");
    said[columns] = stdout === "" ? `${status} ${stderr.trim()}` : /whose a row is: .*/.exec(stdout)![0];
  }
  const asked = (which: string) =>
    `2 Whose a row of public.w is, several columns may say: ${which}. Name it: --user-column <column>.`;
  expect(Object.values(said)).toEqual([
    asked("invited_by, id"),
    asked("friend, id"),
    asked("referrer_id, id"),
    "2 Whose a row of public.w is, one column may say, and its name speaks of somebody else: created_by. Name it: --user-column <column>.",
    "whose a row is: public.w.owner_id",
    "whose a row is: public.w.user_id",
    "whose a row is: public.w.wallet_of",
    "whose a row is: public.w.id",
    "2 Nothing says whose a row of public.w is: name the column, --user-column <column>.",
  ]);

  // both can be had, and each is its own
  await db.admin.query(
    "drop table public.w; create table public.w (id uuid primary key, invited_by uuid references auth.users, credits integer)",
  );
  await db.admin.query("insert into public.w values ($1, $2, 7)", [ann, ben]);
  expect(await says("--from", "w.credits", "--book")).toMatchObject({ status: 2, stdout: "" });
  expect(await imports("--from", "w.credits", "--user-column", "id", "--book")).toMatchObject({ taken: 1 });
  expect((await balance(ann!)).total_active).toBe(7);
  expect((await balance(ben!)).total_active).toBe(0);
});

/** A table with a column of that type, with these values of as many users. */
async function tableOf(type: string, values: (string | null)[], users: string[]): Promise<string[]> {
  await db.admin.query(`drop table if exists public.w; create table public.w (user_id uuid, v ${type})`);
  for (const [nth, value] of values.entries()) {
    await db.admin.query("insert into public.w values ($1, $2)", [users[nth], value]);
  }
  return ["--from", "w.v"];
}

test("what is no amount is a line for all of it, with some of what is written there, and nothing else is read as one", async () => {
  const users = (await people(6)).toSorted();
  const money = await says(...(await tableOf("money", ["1", "2.5", "3", "4", "5", "6"], users)));
  expect(money.stdout).toContain('6: no amount, such as "$1.00", "$2.50", "$3.00", … (');
  expect(money.stdout).toContain(
    `public.w.v is money, and no number: a view that says it as one ("v"::numeric)`,
  );
  expect(money.stdout.match(/no amount/g)).toHaveLength(1);

  const texts = await imports(...(await tableOf("text", ["\\N", "", "7", null, '"', "1,5"], users)));
  expect(texts).toMatchObject({ rows: 6, taken: 2, tokens: 7, without_balance: 1 });
  expect(whys(texts).map((why) => why.slice(38))).toEqual(
    expect.arrayContaining(["no amount, \\N", "no amount, ", 'no amount, "', "no amount, 1,5"]),
  );
  const bits = await says(...(await tableOf("bit(8)", ["00000101"], users)));
  expect([bits.status, bits.stderr]).toEqual([
    2,
    expect.stringContaining("public.w.v is bit, and no number"),
  ]);

  const small = await imports(...(await tableOf("double precision", ["1e-300", "5"], users)));
  expect(small).toMatchObject({ sum_in_source: "5.000000000000…", tokens: 5 });
  await tableOf("integer", ["1"], ["00000000-0000-4000-8000-00000000000b"]);
  const stranger = await says("--from", "w.v");
  expect([stranger.status, stranger.stdout]).toEqual([
    1,
    expect.stringMatching(/1: no such user .*--user-column .*--mapping/),
  ]);
  await db.admin.query("update auth.users set deleted_at = now() where id = $1", [users[0]]);
  await tableOf("integer", ["1", "2"], users);
  expect((await imports("--from", "w.v")).notes).toContainEqual(
    expect.stringMatching(/^1 of the users are deleted/),
  );
});

test("that the books can follow a source is said of what they can follow, and as a shell takes it", async () => {
  const [ann, ben, dan] = await people(3);
  await db.admin.query(`
    create domain public.dm as integer; create domain public.dm2 as public.dm;
    create table public."Weird Name" ("My Credits" public.dm2, user_id uuid);
    create table public.by_address (email text, credits integer);
    create table public.texts (user_id uuid, credits text)`);
  await db.admin.query(`insert into public."Weird Name" values (5, $1)`, [ann]);
  await db.admin.query("insert into public.texts values ($1, '6')", [ben]);
  await db.admin.query("create view public.seen as select * from public.texts");
  const weird = ["--from", "Weird Name.My Credits"];
  expect((await says(...weird, "--book")).stdout).toContain(
    "the books can follow it: npx tokenbook shadow --from 'Weird Name.My Credits' --start\n",
  );
  // and so it is
  const runs = (...args: string[]) => runHere("shadow", [...args, "--db-url", db.url()]);
  expect(await runs(...weird, "--start")).toMatchObject({ status: 0 });
  await db.admin.query(`update public."Weird Name" set "My Credits" = 3`);
  expect(await runs()).toMatchObject({ status: 0 });
  expect((await balance(ann!)).total_active).toBe(3);
  expect(await runHere("switch", ["--yes", "--db-url", db.url()])).toMatchObject({ status: 0 });
  expect(await runs("--stop")).toMatchObject({ status: 0 });

  for (const [source, words] of [
    ["seen.credits", "public.seen is no table"],
    ["texts.credits", "public.texts.credits is text, and no number"],
  ] as const) {
    const said = await says("--from", source, "--book");
    await db.admin.query("insert into public.texts values ($1, '8')", [dan]);
    expect(said.stdout, source).toContain(
      `The books cannot follow what your app still writes there. ${words}`,
    );
    expect(said.stdout).not.toContain("--start");
    expect(await runs("--from", source, "--start")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(words),
    });
  }
  const cia = await createUser(db, { email: "cia@example.com" });
  await db.admin.query("insert into public.by_address values ('cia@example.com', 7)");
  const byAddress = await says("--from", "by_address.credits", "--user-column", "email", "--book");
  expect(byAddress.stdout).toContain("No row of public.by_address is of a user");
  expect((await balance(cia)).total_active).toBe(7);
});

test("a name is written as in SQL, and one that is written otherwise is found", async () => {
  const [ann] = await people(1);
  await db.admin.query(`
    create schema "a.b"; create table "a.b"."c ""d" (user_id uuid, "E.f" integer);
    create schema app; create table app.t117 (user_id uuid, v integer)`);
  await db.admin.query(`insert into "a.b"."c ""d" values ($1, 5)`, [ann]);
  const name = '"a.b"."c ""d"."E.f"';
  const booked = await imports("--from", name, "--book");
  expect(booked).toMatchObject({ source: name, taken: 1, tokens: 5 });
  for (const [from, words] of [
    ["T117.V", "There is no column public.T117.V. There is app.t117.v: upper and lower case count"],
    ['"a.b"."C ""D"."e.F"', `There is ${name}: upper`],
    ['"a.b".c "d.e', "There is no column"],
    ['"a.b', "is no column: it is written"],
    ["a..b", "is no column: it is written"],
    ['""."b"', "is no column: it is written"],
  ] as const) {
    const { status, stderr } = await says("--from", from);
    expect([status, stderr], from).toEqual([2, expect.stringContaining(words)]);
  }
  const check = await runHere("check", ["--import", "T117.V", "--db-url", db.url()]);
  expect(check.stderr).toContain("There is app.t117.v");
});

test.for([
  [["--from", "nowhere"], "is no column"],
  [["--from", "nowhere.credits"], "There is no column public.nowhere.credits"],
  [["--from", "csv"], "--file"],
  [["--from", "csv", "--file", "/nowhere.csv"], "cannot be read"],
  [["--from", "auth.users.id", "--times", "0"], "above 0"],
  [["--from", "auth.users.id", "--lifetime-days", "4000000"], "1 to 36500"],
  [["--from", "auth.users.id", "--grant-type", "gold"], "no type of grants"],
] as const)("%s: it says what is wrong, and ends with 2", async ([args, words]) => {
  const said = await run("import", [...args, "--db-url", db.url()]);
  expect([said.status, said.stderr]).toEqual([2, expect.stringContaining(words)]);
  expect(said.stderr).not.toMatch(/^ +at /m);
});

test("a list of credit grants counts each once, and is taken whole or not at all", async () => {
  const [ann] = await people(1);
  const credit = (id: string, value: number) => ({
    id,
    customer: "cus_a",
    amount: { type: "monetary", monetary: { currency: "usd", value } },
    category: "paid",
    metadata: { user_id: ann },
  });
  const page = (grants: object[], has_more: boolean) =>
    JSON.stringify({ object: "list", data: grants, has_more });
  const from = ["--from", "stripe-credits", "--lifetime-days", "365"];
  const refusals = {
    "is not the whole list": page([credit("credgr_1", 1_000)], true),
    "the grant credgr_1 twice": JSON.stringify([credit("credgr_1", 1_000), credit("credgr_1", 900)]),
    "what Stripe said of a fault: Invalid API Key": JSON.stringify({ error: { message: "Invalid API Key" } }),
    "something else than credit grants": "null",
  };
  for (const [words, text] of Object.entries(refusals)) {
    const refused = await says(...from, "--file", await file("refused.json", text), "--book");
    expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining(words)]);
  }

  const pages = [
    page([credit("credgr_1", 1_000)], true),
    page([credit("credgr_1", 1_000), credit("credgr_2", 5)], false),
  ];
  expect(
    await imports(...from, "--file", await file("pages.json", pages.join("\n")), "--book"),
  ).toMatchObject({
    rows: 2,
    tokens: 1_005,
  });
  expect((await balance(ann!)).total_active).toBe(1_005);
});

test("a debt stays one though the row has an end that has passed", async () => {
  const [ann] = await people(1);
  const csv = await file("debt.csv", `user,tokens,grant_type,expires_at\n${ann},-500,purchase,2020-01-01\n`);

  expect(await imports("--from", "csv", "--file", csv, "--book")).toMatchObject({ taken: 1, left_out: [] });
  expect(await balance(ann!)).toMatchObject({ total_active: 0, total_owed: 500 });
});

test("the checksum is of what would be booked, in whatever order the source gives a user's grants", async () => {
  const [ann] = await people(1);
  const rows = [`${ann},5,purchase,2990-01-01`, `${ann},7,annual,2991-01-01`];
  const sums: string[] = [];
  for (const lines of [rows, rows.toReversed()]) {
    const csv = await file("order.csv", `user,tokens,grant_type,expires_at\n${lines.join("\n")}\n`);
    sums.push((await imports("--from", "csv", "--file", csv)).checksum);
  }

  expect(sums[0]).toBe(sums[1]);
});

test("a mysqldump says of whom it has no number, and a subscription in force may be bit(1)", async () => {
  await people(2);
  const end = "-- Dump completed on 2025-11-20 10:00:00\n";
  const users = `CREATE TABLE \`users\` (\`id\` int, \`email\` text, \`tokens_remaining\` int);
INSERT INTO \`users\` VALUES (1,'user0@example.com',NULL),(2,'user1@example.com',NULL);
`;
  const subscriptions = `CREATE TABLE \`user_subscriptions\` (\`user_id\` int, \`tokens_limit\` int, \`is_active\` bit(1));
INSERT INTO \`user_subscriptions\` VALUES (1,10000,_binary '\u0001'),(2,10000,_binary '\\0');
`;
  const both = await imports(
    "--from",
    "mysql-dump",
    "--file",
    await file("both.sql", users + subscriptions + end),
  );
  const alone = await imports("--from", "mysql-dump", "--file", await file("alone.sql", users + end));

  expect([both.tokens, alone.tokens]).toEqual([10_000, 0]);
  expect(both.notes.join()).toContain("1 of the users have no tokens_remaining");
  expect(alone.notes.join()).toContain("2 of the users have no tokens_remaining");
});
