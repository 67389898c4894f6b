/** `forget_token_user` and `tokenbook forget`: what is personal goes, numbers stay, and the books stay right. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { breaches } from "../support/books.ts";
import { runHere } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { told } from "../support/provider-events.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { fateOf, forgotten } from "./forgotten.ts";

/** What a member wrote, in the payer's books. */
const membersWords = "words of a member";

let db: Database;
let user: PopulatedUser;
let other: PopulatedUser;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const forget = (of: Database, id: string, more: Record<string, unknown> = {}) =>
  asService(of, (client) => rpc(client, "forget_token_user", { p_user_id: id, ...more }));

/** Everything of the user that a person could have written, and a reason that the books read. */
async function populate(of: Database): Promise<PopulatedUser> {
  const one = await populateUser(of);
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(of, (client) => rpc(client, name, { p_user_id: one.id, ...args }));
  const words = `about ${one.mark}`;
  await asServer("adjust_tokens", {
    p_delta: -3,
    p_reason: `Goodwill, ${words}`,
    p_idempotency_key: "adjusted",
  });
  await asServer("grant_tokens", {
    p_tokens: 9,
    p_grant_type: "purchase",
    p_reason: words,
    p_metadata: { of: one.mark, source: "user_profiles" },
    p_idempotency_key: "granted",
  });
  await asServer("track_token_usage", {
    p_action_type: "chat_conversation",
    p_tokens_used: 3,
    p_success: false,
    p_error_message: words,
    p_metadata: { of: one.mark },
    p_idempotency_key: "failed",
  });
  await asServer("refund_tokens", {
    p_transaction_id: one.things.p_transaction_id,
    p_tokens: 5,
    p_reason: words,
  });
  await asServer("set_token_grant_expiry", {
    p_grant_id: one.things.p_grant_id,
    p_expires_at: "2999-01-01T00:00:00Z",
    p_reason: words,
  });
  await asServer("grant_tokens", {
    p_tokens: 8,
    p_grant_type: "purchase",
    p_reason: words,
    p_metadata: { of: one.mark },
    p_idempotency_key: "promised",
    p_starts_at: new Date(Date.now() + 86_400_000).toISOString(),
  });
  await asServer("void_token_grant", { p_grant_id: one.things.p_grant_id, p_reason: words });
  await asServer("approve_token_payment", { p_payment_id: one.things.p_payment_id, p_reason: words });
  await asServer("set_token_account_state", { p_state: "frozen", p_reason: words });
  await asServer("set_token_account_state", { p_state: "active", p_reason: words });
  await asUser(of, one.member, (client) =>
    rpc(client, "track_token_usage", {
      p_action_type: "chat_conversation",
      p_tokens_used: 4,
      p_metadata: { by: membersWords },
    }),
  );
  await of.admin.query("insert into tokenbook.failed_registrations (user_id, error) values ($1, $2)", [
    one.id,
    `23505 ${words}`,
  ]);
  await of.admin.query(
    "insert into tokenbook.cleared_token_balances (user_id, grant_row, why) values ($1, $2, 'expired')",
    [one.id, { id: 1, tokens_granted: 5, metadata: { of: one.mark } }],
  );
  await of.admin.query("insert into tokenbook.set_aside_accounts (user_id, reason) values ($1, $2)", [
    one.id,
    `23514 ${words}`,
  ]);
  await of.admin.query(
    `insert into public.token_usage (user_id, action_type, tokens_used, success, error_message, metadata, created_at)
     values ($1, 'chat_conversation', 3, false, $2, jsonb_build_object('of', $2::text, 'request_id', 'r-1'), now() - interval '2 years')`,
    [one.id, words],
  );
  return one;
}

/** The columns of ours in which that word stands, in rows of anybody's. */
async function where(of: Database, word: string): Promise<string[]> {
  const { rows } = await of.admin.query<{ name: string; columns: string[] }>(
    `select c.oid::regclass::text as name, array_agg(a.attname::text) as columns
       from pg_class c
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relkind in ('r', 'p') and not c.relispartition and (c.relnamespace = 'tokenbook'::regnamespace
         or c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations()))
      group by 1`,
  );
  const found: string[] = [];
  for (const { name, columns } of rows) {
    for (const column of columns) {
      const { rowCount } = await of.admin.query(
        `select from ${name} x where strpos(x."${column}"::text, $1) > 0`,
        [word],
      );
      if (rowCount! > 0) found.push(`${name}.${column}`);
    }
  }
  return found.toSorted();
}

type Numbers = Record<
  "balance" | "earlier" | "numbers" | "replay" | "differences" | "usage" | "payments",
  unknown
> &
  Record<"verified" | "breaches", unknown[]>;

/** Every number of the books, and what is computed of them. */
async function numbers(of: Database, { id, things }: PopulatedUser): Promise<Numbers> {
  const as = (name: string, args: Record<string, unknown> = {}) =>
    asService(of, (client) => rpc(client, name, { p_user_id: id, ...args }));
  const rows = async (sql: string) => (await of.admin.query(sql, [id])).rows;
  const { lines } = await as("checkpoint_token_ledger");
  return {
    balance: await as("get_user_token_balance"),
    earlier: await as("get_token_balance_as_of", { p_at: things.p_at }),
    numbers: (lines as string[]).at(-1)!.split(" ").slice(0, 3),
    replay: await rows("select * from public.replay_token_balances($1)"),
    differences: await rows("select * from public.find_token_discrepancies() where user_id = $1"),
    verified: (await of.admin.query("select * from public.verify_token_ledger()")).rows,
    breaches: await breaches(of),
    usage: await rows(
      "select id, tokens_used, cost_estimate, created_at from public.token_usage where user_id = $1 order by id",
    ),
    payments: await rows(
      "select id, status, amount_cents, tokens from public.token_payments where user_id = $1 order by id",
    ),
  };
}

/** What stays: keys of calls, and what a payment provider calls its things. */
const keysAndProviders = [
  "token_legacy_transactions.legacy_id",
  "token_payments.idempotency_key",
  "token_payments.provider_payment_id",
  "token_transactions.idempotency_key",
  "token_transactions.request",
  "token_transactions.terms",
  "tokenbook.provider_customers.customer_id",
  "tokenbook.provider_customers.event_id",
  "tokenbook.provider_events.event_id",
  "tokenbook.provider_events.facts",
  "tokenbook.provider_events.provider_payment_id",
  "tokenbook.provider_payments.customer_id",
  "tokenbook.provider_payments.provider_payment_id",
  "tokenbook.provider_subscription_events.event_id",
  "tokenbook.provider_subscription_events.facts",
  "tokenbook.provider_subscription_events.provider_subscription_id",
  "tokenbook.provider_subscriptions.customer_id",
  "tokenbook.provider_subscriptions.provider_subscription_id",
  "tokenbook.subscriptions.beside",
  "tokenbook.webhook_deliveries.payload",
];

describe("a user with everything", () => {
  let before: Numbers;
  let kept: string[];
  beforeAll(async () => {
    [user, other] = [await populate(db), await populate(db)];
    before = await numbers(db, user);
    expect(before.verified).toEqual([]);
    kept = await where(db, other.mark);
  });

  test("nothing of theirs is left but keys and what a provider calls things; of others everything is", async () => {
    const there = await where(db, user.mark);
    const answer = await forget(db, user.id);

    console.log(`columns with words: before=${there.length} after=${(await where(db, user.mark)).length}`);
    expect(answer).toMatchObject({
      success: true,
      is_done: true,
      erased: { token_transactions: expect.any(Number) },
    });
    expect(await where(db, user.mark)).toEqual(keysAndProviders);
    expect(await where(db, membersWords)).toEqual(["token_transactions.metadata", "token_usage.metadata"]);
    expect(await where(db, other.mark)).toEqual(kept);
  });

  test("the numbers are the same, and the books are right", async () => {
    expect(await numbers(db, user)).toEqual(before);
  });
});

describe("afterwards", () => {
  test("a retry of a call books nothing twice: its receipt without words, else a refusal that names the field", async () => {
    const spend = (metadata?: Record<string, unknown>) =>
      asUser(db, user.id, (client) =>
        rpc(client, "deduct_tokens_with_fifo", {
          p_user_id: user.id,
          p_tokens_to_deduct: 40,
          p_idempotency_key: user.things.p_idempotency_key,
          ...(metadata && { p_metadata: metadata }),
        }),
      );
    expect(await spend()).toMatchObject({ replayed: true, transaction_id: user.things.p_transaction_id });
    await expect(spend({ of: user.mark, article_id: user.mark })).rejects.toMatchObject({
      message: "idempotency_key_reused",
      detail: expect.stringContaining("metadata"),
    });
  });

  test("what a provider tells later is booked, and brings no words", async () => {
    await asService(db, (client) =>
      rpc(client, "record_token_payment_event", {
        p_provider: "stripe",
        p_event_id: `evt-refund-${user.mark}`,
        p_event_type: "refund.created",
        p_provider_payment_id: user.things.p_provider_payment_id,
        p_facts: told({
          kind: "refund",
          refund_id: `re-${user.mark}`,
          status: "succeeded",
          amount_cents: 3900,
        }),
      }),
    );
    expect(await where(db, user.mark)).toEqual(keysAndProviders);
    expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
  });

  test("again changes nothing; who asked, and when, is kept", async () => {
    await forget(db, user.id);
    const admin = await createUser(db, { admin: true });
    const again = await asAdmin(db, admin, (client) =>
      rpc(client, "forget_token_user", { p_user_id: user.id }),
    );
    const { changes } = await asService(db, (client) =>
      rpc(client, "list_token_changes", { p_user_id: user.id, p_limit: 2 }),
    );

    expect(again).toMatchObject({ erased: {}, is_done: true });
    expect(changes[0]).toMatchObject({ change: "forget_token_user", actor_role: "service", reason: null });
  });

  test("the member of a team is forgotten in the payer's books, and the payer's words stay", async () => {
    const kept = await where(db, other.mark);
    await db.admin.query("delete from auth.users where id = $1", [other.member]);
    expect(await forget(db, other.member)).toMatchObject({
      is_done: true,
      erased: { token_transactions: 1 },
    });
    expect(await where(db, other.mark)).toEqual(kept);
    await forget(db, user.member);
    expect(await where(db, membersWords)).toEqual([]);
    expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
  });

  test("a user whose account is not deleted goes on, and what is recorded afterwards is there", async () => {
    const one = await createUser(db);
    await asService(db, (client) =>
      rpc(client, "grant_tokens", {
        p_user_id: one,
        p_tokens: 5,
        p_grant_type: "purchase",
        p_reason: "the first",
      }),
    );
    await forget(db, one);
    await asService(db, (client) =>
      rpc(client, "grant_tokens", {
        p_user_id: one,
        p_tokens: 7,
        p_grant_type: "purchase",
        p_reason: "the second",
      }),
    );
    const { rows } = await db.admin.query(
      "select reason, tokens::int from public.token_transactions where user_id = $1 order by id",
      [one],
    );
    expect(rows).toEqual([
      { reason: "erased", tokens: 5 },
      { reason: "the second", tokens: 7 },
    ]);
  });
});

test("a portion at a time: the books are right at every commit, and it ends", async () => {
  const one = await populate(db);
  const before = await numbers(db, one);
  let portions = 0;
  for (let isDone = false; !isDone; portions++) {
    isDone = (await forget(db, one.id, { p_limit: 3 })).is_done;
    expect((await db.admin.query("select * from public.verify_token_ledger($1)", [one.id])).rows).toEqual([]);
  }
  console.log(`portions=${portions}`);
  expect(portions).toBeGreaterThan(5);
  expect(await where(db, one.mark)).toEqual(keysAndProviders);
  expect(await numbers(db, one)).toEqual(before);
});

test("a checkpoint from before says that words are gone, and nothing else; the next one fits", async () => {
  const one = await populate(db);
  const checkpoint = async () =>
    (await asService(db, (client) => rpc(client, "checkpoint_token_ledger", { p_user_id: one.id }))).lines;
  const differences = async (lines: unknown) =>
    (
      await db.admin.query("select invariant from public.verify_token_checkpoint($1)", [
        JSON.stringify(lines),
      ])
    ).rows;
  const before = await checkpoint();
  await forget(db, one.id);

  expect(await differences(before)).toEqual([{ invariant: "I6 entries are as they were: words" }]);
  expect(await differences(await checkpoint())).toEqual([]);
});

test("only an admin and the server may, and wrong arguments are refused", async () => {
  const call = (args: Record<string, unknown>) => (client: Parameters<typeof rpc>[0]) =>
    rpc(client, "forget_token_user", args);
  await expect(asAnon(db, call({ p_user_id: other.id }))).rejects.toMatchObject({ code: "42501" });
  await expect(asUser(db, other.id, call({ p_user_id: other.id }))).rejects.toMatchObject({ code: "42501" });
  for (const [args, slug] of [
    [{ p_user_id: "00000000-0000-4000-8000-00000000dead" }, "user_not_found"],
    [{ p_user_id: null }, "invalid_user_id"],
    [{ p_user_id: other.id, p_limit: 0 }, "invalid_page"],
  ] as const) {
    await expect(asService(db, call(args))).rejects.toMatchObject({ message: slug });
  }
});

test("the ledger stays append-only for everyone else, in the same transaction too", async () => {
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query("select public.forget_token_user($1)", [other.id]);
  const change = client.query("update public.token_transactions set reason = 'x' where user_id = $1", [
    other.id,
  ]);
  await expect(change).rejects.toMatchObject({ message: "ledger_is_append_only" });
  await client.query("rollback");
  client.release();
});

test.each([
  [
    "forgetting-leaves-the-trail",
    async (bad: Database, one: PopulatedUser) => (await numbers(bad, one)).verified.length > 0,
  ],
  ["forgetting-takes-members-words", async (bad: Database) => (await where(bad, membersWords)).length === 0],
  [
    "forgetting-keeps-reasons",
    async (bad: Database, one: PopulatedUser) => (await where(bad, `about ${one.mark}`)).length > 0,
  ],
  [
    "forgetting-leaves-the-ledger-open",
    async (bad: Database, one: PopulatedUser) => {
      const client = await bad.admin.connect();
      await client.query("begin");
      await client.query("select public.forget_token_user($1)", [one.id]);
      const { rowCount } = await client.query(
        "update public.token_transactions set reason = 'x' where user_id = $1",
        [one.id],
      );
      await client.query("rollback");
      client.release();
      return rowCount! > 0;
    },
  ],
  [
    "whoever-says-so-changes-the-ledger",
    async (bad: Database, one: PopulatedUser) =>
      (
        await bad.admin.query("update public.token_transactions set reason = 'x' where user_id = $1", [
          one.id,
        ])
      ).rowCount! > 0,
  ],
] as const)("the tests see it: %s", async (mutant, isSeen) => {
  const bad = await createDatabase();
  await applyMutant(bad, mutant);
  const one = await populate(bad);
  await forget(bad, one.id);
  expect(await isSeen(bad, one)).toBe(true);
  await bad.drop();
});

/** The columns of ours that can hold words. */
async function columnsWithWords(): Promise<[table: string, column: string][]> {
  const { rows } = await db.admin.query<{ name: string; column: string }>(
    `select c.oid::regclass::text as name, a.attname as column
       from pg_class c
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       join pg_type t on t.oid = a.atttypid
       left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
      where c.relkind in ('r', 'p') and not c.relispartition and (c.relnamespace = 'tokenbook'::regnamespace
         or c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations()))
        and coalesce(e.typname, t.typname) !~ '^(bool|int[248]|numeric|float[48]|uuid|timestamptz|date|interval|xid8)$'
      order by 1, 2`,
  );
  return rows.map(({ name, column }) => [name, column]);
}

describe("every column", () => {
  test("that can hold words is decided, and what is decided is there", async () => {
    const columns = await columnsWithWords();
    const undecided = columns.filter(([table, column]) => fateOf(table, column) === undefined);
    expect(undecided).toEqual([]);
    const named = Object.entries(forgotten).flatMap(([table, fates]) =>
      Object.keys(fates).map((column) => `${table}.${column}`),
    );
    const there = columns.map(([table, column]) => `${table}.${column}`);
    expect(named.filter((one) => !there.includes(one))).toEqual([]);
  });

  test("is decided as it is done: nothing that is said to be emptied has a word left", async () => {
    const left = (await where(db, user.mark)).map(
      (one) => /^(.*)\.(\w+)$/.exec(one)!.slice(1) as [string, string],
    );
    const partly = ["token_transactions.request"]; // its keys are the caller's too: an id of a payment
    expect(
      left
        .filter(([table, column]) => fateOf(table, column)!.kept === undefined)
        .map(([table, column]) => `${table}.${column}`)
        .filter((one) => !partly.includes(one)),
    ).toEqual([]);
  });

  test("stands in the guide (made anew with -u)", async () => {
    const path = join(projectRoot, "docs/guides/erasing-a-user.md");
    const guide = await readFile(path, "utf8");
    const rows = (await columnsWithWords()).map(([table, column]) => {
      const { kept, emptied } = fateOf(table, column)!;
      return `| `.concat(
        [`\`${table}\``, `\`${column}\``, emptied ? `emptied: ${emptied}` : `kept: ${kept}`].join(" | "),
        " |",
      );
    });
    const table = ["| table | column | |", "|---|---|---|", ...rows].join("\n");
    await expect(guide.replace(/\| table \| column \|[^]*?\n(?=\n)/, () => `${table}\n`)).toMatchFileSnapshot(
      path,
    );
  });
});

describe("tokenbook forget", () => {
  const command = (...args: string[]) => runHere("forget", [...args, "--db-url", db.url()]);

  test("says first what it would erase and changes nothing; erases with --yes; again there is nothing", async () => {
    const one = await populate(db);
    const there = await where(db, one.mark);

    const dry = await command(`${one.mark}@example.com`, "--json");
    expect([dry.status, JSON.parse(dry.stdout)]).toMatchObject([
      0,
      { user_id: one.id, is_signed_up: true, would_erase: { token_transactions: expect.any(Number) } },
    ]);
    const unasked = await command(one.id);
    expect(unasked).toMatchObject({ status: 2, stderr: expect.stringContaining("--yes") });
    expect(unasked.stdout).toMatch(/token_transactions +\d+ rows/);
    expect(await where(db, one.mark)).toEqual(there);

    await db.admin.query(
      "insert into tokenbook.subjects (issuer, subject, user_id) values ('https://clerk.example', $1, $2)",
      [`user_${one.mark}`, one.id],
    );
    expect(JSON.parse((await command(one.id, "--json")).stdout).would_erase).not.toHaveProperty(
      "tokenbook.subjects",
    );
    await db.admin.query("delete from auth.users where id = $1", [one.id]);
    const done = await command(one.id, "--yes");
    expect(done).toMatchObject({ status: 0, stdout: expect.stringContaining(`Erased of ${one.id}`) });
    expect(await where(db, one.mark)).toEqual(keysAndProviders);
    expect((await command(one.id, "--yes")).stdout).toContain("nothing personal");
  });

  test("of whom nothing is known, it says so", async () => {
    expect(await command("nobody@example.com")).toMatchObject({ status: 2 });
  });
});
