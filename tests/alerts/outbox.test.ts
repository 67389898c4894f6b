import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { storm } from "../support/storm.ts";
import { call, deduct, setRule } from "./alerts.ts";

const url = "https://example.com/tokens";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
});
beforeEach(async () => {
  await db.admin.query("delete from tokenbook.webhook_deliveries");
  await db.admin.query("delete from tokenbook.webhook_endpoints");
  await setEndpoint("app", { p_kinds: ["token_alert.dropped"] });
  user = await createUser(db);
  await grant(db, user, 100);
  await deduct(db, user, 60);
});
afterAll(() => db.drop());

const setEndpoint = (name: string, more: Record<string, unknown> = {}, of = db) =>
  call(of, "set_token_webhook_endpoint", { p_name: name, p_url: url, ...more });

interface Claimed {
  user_id: string;
  delivery_id: string;
  claim_id: string;
  attempt: number;
}

const claim = (limit: number | null = 20, lease: number | null = 60, endpoint = "app") =>
  asService(db, (client) =>
    client.query<Claimed>("select * from public.claim_token_webhooks($1, $2, $3)", [endpoint, limit, lease]),
  ).then(({ rows }) => rows);

const settle = ({ user_id, delivery_id, claim_id }: Claimed, error?: string) =>
  call(db, "settle_token_webhook", {
    p_user_id: user_id,
    p_delivery_id: delivery_id,
    p_claim_id: claim_id,
    ...(error && { p_error: error }),
  });

const setAll = (change: string) => db.admin.query(`update tokenbook.webhook_deliveries set ${change}`);

const repeat = (delivery: string | number, of = db) =>
  call(of, "repeat_token_webhook_delivery", { p_delivery_id: delivery });

/** Which endpoint is sent what, as `app token_alert.dropped`. */
async function queued(of = db): Promise<string[]> {
  const { rows } = await of.admin.query(
    "select endpoint || ' ' || kind as told from tokenbook.webhook_deliveries order by 1",
  );
  return rows.map(({ told }) => told as string);
}

test("a delivery is handed to one at a time, and to the next when the lease ends", async () => {
  const [first] = await claim();
  expect(first).toMatchObject({ user_id: user, attempt: 1 });
  expect(await claim()).toEqual([]);
  await setAll("next_attempt_at = clock_timestamp()");
  const [second] = await claim();
  expect(second).toMatchObject({ attempt: 2 });

  // the first was slow, not dead: that it failed is no longer its to say, that it delivered is
  expect(await settle(first!, "HTTP 500")).toMatchObject({ status: "pending", attempts: 2 });
  expect(await settle(first!)).toMatchObject({ status: "delivered", next_attempt_at: null });
  expect(await settle(second!, "HTTP 500")).toMatchObject({ status: "delivered" });
  expect(await claim()).toEqual([]);
});

test("a delivery that was tried ten times without an answer, or is three days old, is given up, and says so", async () => {
  await setAll("attempts = 10");
  expect(await claim()).toEqual([]);
  const read = async () =>
    (
      await db.admin.query(
        "select status, last_error, settled_at is not null as settled from tokenbook.webhook_deliveries",
      )
    ).rows;
  expect(await read()).toEqual([{ status: "given_up", last_error: "no answer", settled: true }]);
  expect(await call(db, "retry_token_webhooks", { p_endpoint: "app" })).toBe(1);
  expect(await claim()).toHaveLength(1);

  await setAll(
    `created_at = created_at - interval '73 hours', queued_at = queued_at - interval '73 hours',
     next_attempt_at = created_at, attempts = 0, last_error = null`,
  );
  expect(await claim()).toEqual([]);
  expect(await read()).toEqual([{ status: "given_up", last_error: "too old", settled: true }]);
  expect(await call(db, "retry_token_webhooks", { p_endpoint: "app" })).toBe(0); // old news is none
});

test("what is 30 days old is deleted by the next claim, unless it was repeated since", async () => {
  const [{ delivery_id }] = (await claim()) as [Claimed];
  await setAll(
    "created_at = created_at - interval '31 days', queued_at = queued_at - interval '31 days', claim_id = null",
  );
  await repeat(delivery_id);
  expect(await claim()).toHaveLength(1);
  await setAll("queued_at = created_at");
  await claim();
  expect(await queued()).toEqual([]);
});

test("40 connections that claim 400 deliveries get each of them once", async () => {
  await db.admin.query(
    `insert into tokenbook.webhook_deliveries (user_id, event_id, endpoint, kind, payload, created_at, queued_at, next_attempt_at)
     select gen_random_uuid(), 'event', 'app', 'token_alert.dropped', '{}', now(), now(), now() from generate_series(1, 399)`,
  );
  const seen = new Map<string, number>();
  const { mix } = await storm(db, {
    connections: 40,
    attempts: 200,
    run: async (client) => {
      const { rows } = await client.query<Claimed>("select * from public.claim_token_webhooks('app', 7)");
      for (const { delivery_id: of } of rows) seen.set(of, (seen.get(of) ?? 0) + 1);
      return rows.length > 0 ? "some" : "none";
    },
  });
  console.log(`deliveries=${seen.size} most=${Math.max(...seen.values())} mix=${JSON.stringify(mix)}`);
  expect(seen.size).toBe(400);
  expect(Math.max(...seen.values())).toBe(1);
});

test("an error is kept in 200 characters, and what is not there is said to be nothing", async () => {
  const [claimed] = await claim();
  await settle(claimed!, "x".repeat(1_000));
  const { rows } = await db.admin.query(
    "select length(last_error) as length from tokenbook.webhook_deliveries",
  );
  expect(rows).toEqual([{ length: 200 }]);
  const nothing = { user_id: user, delivery_id: "99", claim_id: randomUUID(), attempt: 1 };
  expect(await settle(nothing)).toMatchObject({ status: null });
});

test("deliveries are claimed 1 to 200 at a time, for 1 to 3600 seconds", async () => {
  for (const [limit, lease] of [
    [0, 60],
    [201, 60],
    [null, 60],
    [1, 0],
    [1, 3601],
    [1, null],
  ] as const) {
    await expect(claim(limit, lease), `${limit}, ${lease}`).rejects.toMatchObject({
      message: "invalid_page",
    });
  }
});

test("a deduction is never kept waiting, or from happening, by the outbox", async () => {
  const other = await createUser(db);
  await grant(db, other, 100);
  const sender = await db.admin.connect();
  await sender.query("begin");
  await sender.query("select from tokenbook.webhook_deliveries for update");
  await deduct(db, user, 10);
  await deduct(db, other, 60);
  await sender.query("rollback");
  sender.release();
  // a crossing that was told already, whyever: not written again, and no error
  await db.admin.query(
    "update tokenbook.token_alert_states set is_below = false, epoch = epoch - 1 where user_id = $1",
    [user],
  );
  await db.admin.query(
    "update public.token_accounts set alert_below = 50, alert_above = null where user_id = $1",
    [user],
  );
  await deduct(db, user, 10);
  const { rows } = await db.admin.query(
    `select (select count(*)::int from public.token_alerts where user_id = $1) as alerts,
            (select count(*)::int from tokenbook.webhook_deliveries where user_id = $1) as deliveries`,
    [user],
  );
  expect(rows).toEqual([{ alerts: 1, deliveries: 1 }]);
});

/** Which of four endpoints, two of which ask for it, are told when a balance drops once. */
async function toldOfADrop(variant?: string): Promise<string[]> {
  const own = await createDatabase();
  if (variant !== undefined) await applyMutant(own, variant);
  await setRule(own, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  await setEndpoint("all", {}, own);
  await setEndpoint("drops", { p_kinds: ["token_alert.dropped", "token_alert.depleted"] }, own);
  await setEndpoint("ends", { p_kinds: ["token_alert.recovered"] }, own);
  await setEndpoint("off", { p_is_enabled: false }, own);
  const one = await createUser(own);
  await own.admin.query("select public.grant_tokens($1, 100)", [one]);
  await deduct(own, one, 60);
  const told = (await queued(own)).filter((it) => it.endsWith("token_alert.dropped"));
  await own.drop();
  return told;
}

test("an event is written for the endpoints that ask for it, and for no other", async () => {
  expect(await toldOfADrop()).toEqual(["all token_alert.dropped", "drops token_alert.dropped"]);
});

test("the test sees it: every endpoint is told everything", { tags: ["proof"] }, async () => {
  expect(await toldOfADrop("every-endpoint-is-told-everything")).toHaveLength(4);
});

/** What is told of a drop that is rolled back, and of one that its own transaction takes back. */
async function toldOfWhatIsUndone(variant?: string): Promise<string[]> {
  const own = await createDatabase();
  if (variant !== undefined) await applyMutant(own, variant);
  await setRule(own, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  const one = await createUser(own);
  await own.admin.query("select public.grant_tokens($1, 100)", [one]);
  await setEndpoint("app", { p_kinds: ["token_alert.dropped"] }, own);
  const client = await own.admin.connect();
  await client.query("begin");
  await client.query("select public.deduct_tokens_with_fifo($1, 60)", [one]);
  await client.query("rollback");
  await client.query("begin");
  await client.query("select public.deduct_tokens_with_fifo($1, 60)", [one]);
  await client.query("select public.grant_tokens($1, 60)", [one]);
  await client.query("commit");
  client.release();
  const told = await queued(own);
  await own.drop();
  return told;
}

test("an event that is rolled back, or withdrawn in its own transaction, is not told", async () => {
  expect(await toldOfWhatIsUndone()).toEqual([]);
});

test("the test sees it: what was taken back is sent", { tags: ["proof"] }, async () => {
  expect(await toldOfWhatIsUndone("taken-back-and-sent")).toHaveLength(1);
});

test("an alert that moves up because another was taken back is told under the number that it has", async () => {
  const one = await createUser(db);
  await setEndpoint("app");
  await grant(db, one, 100);
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query("select public.deduct_tokens_with_fifo($1, 60)", [one]); // the first, below 50
  await client.query("select tokenbook.tell_of_subscription($1, 'subscription_ended', now(), '{}')", [one]);
  await client.query("select public.grant_tokens($1, 60)", [one]); // takes the first back
  await client.query("commit");
  client.release();
  const { rows } = await asService(db, (server) =>
    server.query(
      "select kind, data ->> 'alert_id' as id from public.claim_token_webhooks('app') where user_id = $1 and data ? 'alert_id'",
      [one],
    ),
  );
  expect(rows).toEqual([{ kind: "token_alert.subscription_ended", id: "1" }]);
});

test("deliveries are listed newest first, in pages, by endpoint and status", async () => {
  await setEndpoint("crm");
  for (let n = 0; n < 3; n++) {
    const one = await createUser(db);
    await grant(db, one, 100);
    await deduct(db, one, 60);
  }
  const admin = await createUser(db, { admin: true });
  const list = (args: Record<string, unknown> = {}) =>
    asAdmin(db, admin, (client) => rpc(client, "list_token_webhook_deliveries", args));
  const all = await list({ p_limit: 200 });
  expect(all.next_before).toBeNull();
  const ids = all.deliveries.map(({ id }: { id: number }) => id);
  expect(ids).toEqual(ids.toSorted((a: number, b: number) => b - a));
  expect(all.deliveries.at(-1)).toEqual({
    id: expect.any(Number),
    event_id: expect.stringMatching(/^event_/),
    endpoint: "app",
    user_id: user,
    kind: "token_alert.dropped",
    data: expect.objectContaining({ user_id: user, kind: "dropped", rule: "low", tokens_remaining: 40 }),
    created_at: expect.any(String),
    status: "pending",
    attempts: 0,
    next_attempt_at: expect.any(String),
    last_error: null,
    settled_at: null,
  });
  const pages: number[] = [];
  for (let before: number | null | undefined; before !== null;) {
    const page = await list({ p_limit: 2, ...(before && { p_before: before }) });
    pages.push(...page.deliveries.map(({ id }: { id: number }) => id));
    before = page.next_before as number | null;
  }
  expect(pages).toEqual(ids);

  await settle((await claim(1))[0]!);
  const of = async (args: Record<string, unknown>) =>
    (await list(args)).deliveries.map(
      ({ endpoint, status }: Record<string, string>) => `${endpoint} ${status}`,
    );
  expect(await of({ p_status: "delivered" })).toEqual(["app delivered"]);
  expect(new Set(await of({ p_endpoint: "app", p_status: "pending" }))).toEqual(new Set(["app pending"]));
  await expect(list({ p_status: "lost" })).rejects.toMatchObject({ message: "invalid_page" });
});

/** What comes of a repetition while somebody is sending: how many are handed out at once. */
async function repeatedWhileSent(): Promise<number> {
  const [claimed] = await claim();
  await repeat(claimed!.delivery_id);
  return 1 + (await claim()).length;
}

test("a delivery is repeated whatever became of it, under its id, but not while it is being sent", async () => {
  expect(await repeatedWhileSent()).toBe(1);
  const { rows } = await db.admin.query("select id, event_id from tokenbook.webhook_deliveries");
  await setAll("status = 'delivered', next_attempt_at = null, settled_at = now(), claim_id = null");
  expect(await repeat(rows[0].id)).toMatchObject({ success: true, status: "pending" });
  const [again] = await claim();
  expect(again).toMatchObject({ event_id: rows[0].event_id, attempt: 1 });
  await settle(again!, "HTTP 500");
  expect(await claim()).toEqual([]);
  await repeat(rows[0].id); // without its pause
  expect(await claim()).toHaveLength(1);

  await expect(repeat(0)).rejects.toMatchObject({ message: "webhook_delivery_not_found" });
  await call(db, "remove_token_webhook_endpoint", { p_name: "app" });
  await expect(repeat(rows[0].id)).rejects.toMatchObject({ message: "webhook_endpoint_not_found" });
});

test("the test sees it: a delivery is repeated while it is being sent", { tags: ["proof"] }, async () => {
  const mine = db;
  db = await createDatabase();
  await applyMutant(db, "repeated-while-it-is-sent");
  await setEndpoint("app");
  user = await createUser(db);
  await grant(db, user, 100);
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  await deduct(db, user, 60);
  expect(await repeatedWhileSent()).toBeGreaterThan(1);
  await db.drop();
  db = mine;
});

test("an endpoint is set, listed and removed by an admin; its address is nobody else's to read", async () => {
  const admin = await createUser(db, { admin: true });
  const set = await asAdmin(db, admin, (client) =>
    rpc(client, "set_token_webhook_endpoint", {
      p_name: "crm",
      p_url: "https://hooks.example.com/T000/secret-path?key=1",
      p_kinds: ["token_alert.depleted"],
    }),
  );
  expect(set).toMatchObject({
    name: "crm",
    kinds: ["token_alert.depleted"],
    is_enabled: true,
    secret_setting: "TOKEN_WEBHOOK_SECRET_CRM",
  });
  const names = (await call(db, "list_token_webhook_endpoints")).map(({ name }: { name: string }) => name);
  expect(names).toEqual(["app", "crm"]);
  const { changes } = await call(db, "list_token_changes", { p_limit: 1 });
  expect(changes[0]).toMatchObject({
    change: "set_token_webhook_endpoint",
    actor_id: admin,
    details: { name: "crm", origin: "https://hooks.example.com" },
  });
  expect(JSON.stringify(changes)).not.toContain("secret-path");
  for (const name of ["list_token_webhook_endpoints", "list_token_webhook_deliveries"]) {
    await expect(asUser(db, user, (client) => rpc(client, name))).rejects.toMatchObject({
      message: "forbidden",
    });
  }
  expect(await call(db, "remove_token_webhook_endpoint", { p_name: "crm" })).toMatchObject({ removed: true });
  expect(await call(db, "remove_token_webhook_endpoint", { p_name: "crm" })).toMatchObject({
    removed: false,
  });
});

const bad: [field: string, args: Record<string, unknown>][] = [
  ["p_name", { p_name: "CRM" }],
  ["p_name", { p_name: "a".repeat(33) }],
  ["p_name", { p_name: null }],
  ["p_url", { p_url: null }],
  ["p_url", { p_url: "http://example.com/" }],
  ["p_url", { p_url: "https://user:password@example.com/" }],
  ["p_url", { p_url: "https://localhost@example.com" }],
  ["p_url", { p_url: "http://localhost.example.com/" }],
  ["p_url", { p_url: "https://example.com/#part" }],
  ["p_url", { p_url: "https://example.com/ or\nhttps://other.example.com/" }],
  ["p_url", { p_url: "file:///etc/passwd" }],
  ["p_url", { p_url: `https://example.com/${"a".repeat(2000)}` }],
  ["p_kinds", { p_kinds: [] }],
  ["p_kinds", { p_kinds: "token_alert.dropped" }],
  ["p_kinds", { p_kinds: [[["token_alert.dropped"]]] }],
  ["p_kinds", { p_kinds: ["token_alert.dropped", null] }],
  ["p_kinds", { p_kinds: ["token_alert.unheard_of"] }],
  ["p_is_enabled", { p_is_enabled: null }],
];

test.each(bad.map(([field, args]) => ({ field, args, shown: JSON.stringify(args).slice(0, 80) })))(
  "a wrong $field is refused, and nothing is set: $shown",
  async ({ field, args }) => {
    const error = await setEndpoint("crm", args).then(
      () => undefined,
      (refusal: { message: string; detail: string }) => refusal,
    );
    expect(error).toMatchObject({ message: "invalid_webhook_endpoint" });
    expect(JSON.parse(error!.detail)).toMatchObject({ field });
    expect(await call(db, "list_token_webhook_endpoints")).toHaveLength(1);
  },
);

test.each([
  "http://localhost:3000",
  "http://127.0.0.1/x?y=1",
  "https://[2001:db8::1]:8443/x",
  "https://example.com",
])("%s may be one", async (address) => {
  expect(await setEndpoint("crm", { p_url: address })).toMatchObject({ url: address });
});

test("the test sees it: an endpoint may be anywhere", { tags: ["proof"] }, async () => {
  const own = await createDatabase();
  await applyMutant(own, "webhooks-to-any-address");
  expect(await setEndpoint("crm", { p_url: "http://example.com/" }, own)).toMatchObject({ name: "crm" });
  await own.drop();
});

test("there are 20 endpoints at most", async () => {
  for (let n = 1; n < 20; n++) await setEndpoint(`n_${n}`);
  await expect(setEndpoint("one_more")).rejects.toMatchObject({ message: "invalid_webhook_endpoint" });
  await setEndpoint("app", { p_is_enabled: false });
});

test("of an endpoint that is switched off nothing is sent, and what waits is sent when it is on again", async () => {
  await setEndpoint("app", { p_is_enabled: false });
  expect(await claim()).toEqual([]);
  await setEndpoint("app");
  expect(await claim()).toHaveLength(1);
});
