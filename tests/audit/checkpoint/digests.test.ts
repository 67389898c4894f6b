import { createHash, randomUUID } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digestAfter } from "../../../packages/tokenbook/src/data/checkpoint.ts";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { writeLongLedger } from "../../support/long-ledger.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { booksToCorrupt } from "../verify/books-to-corrupt.ts";
import { linesOf, takeCheckpoint, tamper, verifyCheckpoint } from "./checkpoints.ts";

/** Books with every kind of entry in them. */
let db: Database;
let users: string[];
beforeAll(async () => {
  ({ db, users } = await booksToCorrupt());
  // texts that sessions could write differently
  await db.admin.query(
    `update public.token_transactions set reason = 'Größe – 大小', metadata = '{"é": 1.50, "b": [null, true], "aa": "\\u0001"}'
      where user_id = $1 and id % 3 = 0`,
    [users[0]],
  );
});
afterAll(() => db.drop());

/** Every checkpoint as if it were the first. */
const forget = (client: pg.ClientBase) =>
  client.query("delete from tokenbook.ledger_checkpoints where user_id is not null");

const asOwner = async <T>(of: Database, work: (client: pg.ClientBase) => Promise<T>): Promise<T> => {
  const client = await of.admin.connect();
  try {
    await client.query("begin");
    return await work(client);
  } finally {
    await client.query("rollback");
    client.release(true); // whatever was set
  }
};

test("the digest is the same for all callers and session settings", async () => {
  const admin = await createUser(db, { admin: true });
  const expected = linesOf(await asOwner(db, (client) => takeCheckpoint(client)));
  const settings = [
    "set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'",
    "set timezone = 'America/New_York'; set datestyle = 'German'; set extra_float_digits = -3",
    "set bytea_output = 'escape'; set client_encoding = 'LATIN1'; set standard_conforming_strings = off",
    "set search_path = public, tokenbook; set enable_indexscan = off; set enable_bitmapscan = off; set jit = on; set jit_above_cost = 0",
    "set default_transaction_isolation = 'repeatable read'; set plan_cache_mode = 'force_custom_plan'",
  ];
  for (const setting of settings) {
    const lines = await asOwner(db, async (client) => {
      await client.query(setting);
      return linesOf(await takeCheckpoint(client));
    });
    expect(lines).toEqual(expected);
  }

  for (const as of [
    asService,
    (of: Database, work: Parameters<typeof asService>[1]) => asAdmin(of, admin, work),
  ]) {
    await db.admin.query("delete from tokenbook.ledger_checkpoints where user_id is not null");
    expect(await as(db, async (client) => linesOf(await takeCheckpoint(client)))).toEqual(expected);
  }
});

/** An entry as the wire protocol has it: of each column the type, the length, the bytes. */
function record(fields: [type: number, value: Buffer | null][]): Buffer {
  const parts = fields.map(([type, value]) => {
    const head = Buffer.alloc(8);
    head.writeInt32BE(type, 0);
    head.writeInt32BE(value === null ? -1 : value.length, 4);
    return value === null ? head : Buffer.concat([head, value]);
  });
  const count = Buffer.alloc(4);
  count.writeInt32BE(fields.length);
  return Buffer.concat([count, ...parts]);
}

const int8 = (value: string | null): Buffer | null => {
  if (value === null) return null;
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
};
const uuid = (value: string | null) =>
  value === null ? null : Buffer.from(value.replaceAll("-", ""), "hex");
const text = (value: string | null) => (value === null ? null : Buffer.from(value, "utf8"));
const array = (type: number, values: (Buffer | null)[]): Buffer => {
  const ints = (...all: number[]) => {
    const bytes = Buffer.alloc(4 * all.length);
    all.forEach((one, i) => bytes.writeInt32BE(one, 4 * i));
    return bytes;
  };
  if (values.length === 0) return ints(0, 0, type);
  const items = values.map((value) => Buffer.concat([ints(value!.length), value!]));
  return Buffer.concat([ints(1, 0, type, values.length, 1), ...items]);
};

const oid = { bytea: 17, int8: 20, uuid: 2950, uuids: 2951, int8s: 1016, timestamptz: 1184 };

/** A user's line, from what a plain query says: written a second time, by the page about it and not by the SQL. */
async function lineByHand(client: pg.ClientBase, user: string): Promise<string> {
  const { rows } = await client.query(
    `select t.*, t.tokens::text, t.grant_tokens::text[], t.grant_ids::text[], t.request::text, t.metadata::text, t.terms::text,
            (extract(epoch from t.created_at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::bigint::text as at
       from public.token_transactions t where t.user_id = $1 order by t.id`,
    [user],
  );
  const sha256 = (...parts: (Buffer | string)[]) => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  let numbers = sha256(`tokenbook checkpoint 1: numbers of ${user}`);
  let words = sha256(`tokenbook checkpoint 1: words of ${user}`);
  for (const row of rows) {
    numbers = sha256(
      numbers,
      record([
        [oid.int8, int8(row.id)],
        [oid.bytea, text(row.entry_type)],
        [oid.bytea, text(row.action_type)],
        [oid.int8, int8(row.tokens)],
        [oid.int8, int8(row.balance_after)],
        [oid.int8, int8(row.debt_change)],
        [oid.int8, int8(row.reserved_change)],
        [oid.uuids, array(oid.uuid, row.grant_ids.map(uuid))],
        [oid.int8s, array(oid.int8, row.grant_tokens.map(int8))],
        [oid.bytea, text(row.actor_role)],
        [oid.uuid, uuid(row.actor_id)],
        [oid.uuid, uuid(row.usage_id)],
        [oid.uuid, uuid(row.hold_id)],
        [oid.uuid, uuid(row.payment_id)],
        [oid.int8, int8(row.original_id)],
        [oid.uuid, uuid(row.member_id)],
        [oid.timestamptz, int8(row.at)],
        [oid.bytea, text(row.terms)],
      ]),
    );
    words = sha256(
      words,
      record([
        [oid.bytea, text(row.reason)],
        [oid.bytea, text(row.idempotency_key)],
        [oid.bytea, text(row.request)],
        [oid.bytea, text(row.metadata)],
      ]),
    );
  }
  return `${user} ${rows.at(-1).id} ${numbers.toString("hex")} ${words.toString("hex")}`;
}

test("it can be computed from the rows without the database: a second program says the same", async () => {
  await asOwner(db, async (client) => {
    const made = await takeCheckpoint(client);
    const byHand = [];
    const { rows } = await client.query(
      "select distinct user_id as user from public.token_transactions order by 1",
    );
    for (const { user } of rows) byHand.push(await lineByHand(client, user));

    expect(linesOf(made)).toEqual(byHand);
    let digest: string | undefined;
    for (const line of made.lines) digest = digestAfter(digest, line);
    expect(made.digest).toBe(digest);
  });
});

test("what was kept with an earlier version still fits: a known entry has the known digests", async () => {
  await tamper(db, async (client) => {
    const user = "00000000-0000-4000-8000-000000000001";
    await client.query(
      `insert into public.token_transactions
         (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, created_at)
       values ($1, 1, 'grant', 'admin_grant', 100, 100, array['00000000-0000-4000-8000-000000000002'::uuid], array[100],
               'a gift', 'service', '{"for": "Zoë"}', '2026-11-26 12:00:00.123456+00')`,
      [user],
    );
    const [line] = linesOf(await takeCheckpoint(client, { user }));

    expect(line).toBe(
      `${user} 1 094ae48b7f27442c0f11438a0df4e36d2a4c3ea5a95aabf492800c15477cec14 bed241b58c8e0e9be7b1a81a16a83e2a689945147a80b747c65004d1125d3c29`,
    );
  });
});

test("a column that is added to the ledger later changes no digest", async () => {
  await tamper(db, async (client) => {
    const before = await takeCheckpoint(client);
    await client.query("alter table public.token_transactions add column note text default 'none'");
    await forget(client);

    expect(linesOf(await takeCheckpoint(client))).toEqual(linesOf(before));
    expect(await verifyCheckpoint(client, before)).toEqual([]);
  });
});

/** A value that the column does not have; by type. */
const another: Record<string, string> = {
  bigint: "coalesce(x.$ + 1000, 1)",
  text: "coalesce(x.$ || ' ', ' ')",
  uuid: "gen_random_uuid()",
  jsonb: `coalesce(x.$, '{}') || '{"added": true}'`,
  "uuid[]": "x.$ || gen_random_uuid()",
  "bigint[]": "x.$ || 1::bigint",
  "timestamp with time zone": "x.$ + interval '1 microsecond'",
};

test("every column of the ledger is in it, of every kind of entry", async () => {
  const { rows: columns } = await db.admin.query<{ name: string; type: string }>(
    `select attname as name, format_type(atttypid, null) as type from pg_attribute
      where attrelid = 'public.token_transactions'::regclass and attnum > 0 and not attisdropped`,
  );
  const { rows: sites } = await db.admin.query<{ at: string; user: string; kind: string }>(
    "select distinct on (entry_type) ctid::text as at, user_id as user, entry_type as kind from public.token_transactions order by entry_type, id",
  );
  const unseen: string[] = [];
  await tamper(db, async (client) => {
    const kept = await takeCheckpoint(client);
    for (const { name, type } of columns) {
      for (const { at, user, kind } of sites) {
        await client.query("savepoint before");
        await client.query(
          `update public.token_transactions x set ${name} = ${another[type]!.replaceAll("$", name)} where ctid = $1::tid`,
          [at],
        );
        const found = await verifyCheckpoint(client, kept);
        if (!found.some((row) => row.user_id === user)) unseen.push(`${name} of a ${kind}`);
        await client.query("rollback to before");
      }
    }
  });

  console.log(`columns=${columns.length} kinds of entries=${sites.length} unseen=${unseen.length}`);
  expect(sites.length).toBeGreaterThan(10);
  expect(unseen).toEqual([]);
});

test("pages of any size make the same lines, and none reads more than it may", async () => {
  await asOwner(db, async (client) => {
    const whole = await takeCheckpoint(client);
    for (const limit of [1, 7, 50]) {
      await forget(client);
      const { lines, digest, read } = await takeCheckpoint(client, { limit });
      let computed: string | undefined;
      for (const line of lines) computed = digestAfter(computed, line);

      expect(lines.slice(1)).toEqual(linesOf(whole));
      expect(digest).toBe(computed);
      expect(Math.max(...read)).toBeLessThanOrEqual(limit);
      expect(read.length).toBeGreaterThan(1);
    }
  });
});

test("what was kept of it may be lost: the next checkpoint says the same", async () => {
  await asOwner(db, async (client) => {
    const before = await takeCheckpoint(client);
    await forget(client);
    expect(linesOf(await takeCheckpoint(client))).toEqual(linesOf(before));
  });
});

test("only what is new is read: it comes to the same when what was read before is gone", async () => {
  const long = await createDatabase();
  const user = await createUser(long);
  await writeLongLedger(long, user, 5_000);
  const first = await asService(long, (client) => takeCheckpoint(client));
  for (const _ of "123") {
    await long.admin.query("select public.deduct_tokens_with_fifo($1, 1)", [user]);
  }
  const withoutPast = await tamper(long, async (client) => {
    await client.query("delete from public.token_transactions where user_id = $1 and id <= 5001", [user]);
    return await takeCheckpoint(client);
  });
  const second = await asService(long, (client) => takeCheckpoint(client));
  const verified = await asService(long, (client) => verifyCheckpoint(client, second));
  await long.drop();

  console.log(`entries read: first=${first.read} second=${second.read}`);
  expect([first.read, second.read]).toEqual([[5_001], [3]]);
  expect(linesOf(second)).toEqual(linesOf(withoutPast));
  expect(verified).toEqual([]);
});

test("one user's checkpoint is of them alone", async () => {
  await asOwner(db, async (client) => {
    const one = await takeCheckpoint(client, { user: users[3]! });
    const all = await takeCheckpoint(client);

    expect(one.lines[0]).toMatch(new RegExp(`^tokenbook checkpoint 1 of ${users[3]} at \\S+Z$`));
    expect(linesOf(one)).toEqual(linesOf(all).filter((line) => line.startsWith(users[3]!)));
    expect(await verifyCheckpoint(client, one)).toEqual([]);
  });
});

test("a user without entries has no line", async () => {
  await asOwner(db, async (client) => {
    const page = await rpc(client, "checkpoint_token_ledger", { p_user_id: randomUUID() });
    expect(page).toMatchObject({
      users: 0,
      entries: 0,
      next: null,
      lines: [expect.stringContaining(" of ")],
    });
  });
});

test("only admins and the server may make or verify one", async () => {
  const kept = await asOwner(db, (client) => takeCheckpoint(client));
  await expect(asUser(db, users[0]!, (client) => takeCheckpoint(client))).rejects.toMatchObject({
    code: "42501",
  });
  await expect(asUser(db, users[0]!, (client) => verifyCheckpoint(client, kept))).rejects.toMatchObject({
    code: "42501",
  });
  expect(await asService(db, (client) => verifyCheckpoint(client, kept))).toEqual([]);
});

test.each<[string, Record<string, unknown>]>([
  ["checkpoint_token_ledger", { p_limit: 0 }],
  ["checkpoint_token_ledger", { p_limit: 1_000_001 }],
  ["checkpoint_token_ledger", { p_limit: null }],
  ["checkpoint_token_ledger", { p_digest: "abc" }],
  ["checkpoint_token_ledger", { p_after: "00000000-0000-4000-8000-000000000001" }],
  [
    "checkpoint_token_ledger",
    {
      p_user_id: "00000000-0000-4000-8000-000000000001",
      p_after: "00000000-0000-4000-8000-000000000001",
      p_digest: "0".repeat(64),
    },
  ],
  ["verify_token_checkpoint", { p_lines: null }],
  ["verify_token_checkpoint", { p_lines: [] }],
  [
    "verify_token_checkpoint",
    { p_lines: ["tokenbook checkpoint 1 of everyone at 2026-13-41T00:00:00.000000Z"] },
  ],
  [
    "verify_token_checkpoint",
    { p_lines: ["tokenbook checkpoint 2 of everyone at 2026-11-26T00:00:00.000000Z"] },
  ],
  ...[
    "",
    "x",
    "00000000-0000-4000-8000-000000000001 1 ab",
    `z 1 ${"0".repeat(64)} ${"0".repeat(64)}`,
    null,
  ].map((line): [string, Record<string, unknown>] => [
    "verify_token_checkpoint",
    { p_lines: ["tokenbook checkpoint 1 of everyone at 2026-11-26T00:00:00.000000Z", line] },
  ]),
])("%s refuses %j", async (name, args) => {
  await expect(asService(db, (client) => rpc(client, name, args))).rejects.toMatchObject({
    code: "PT400",
    message: "invalid_checkpoint",
  });
});

test("two at once: the second waits for two seconds at most, and then says busy", async () => {
  const first = await db.admin.connect();
  await first.query("begin");
  await takeCheckpoint(first);
  const begin = performance.now();
  await expect(asService(db, (client) => takeCheckpoint(client))).rejects.toMatchObject({ code: "PT503" });
  const waited = performance.now() - begin;
  await first.query("rollback");
  first.release();

  expect(waited).toBeGreaterThan(1_500);
  expect(waited).toBeLessThan(6_000);
});

test("a deduction does not wait for a checkpoint that is being made", async () => {
  const fresh = await createDatabase();
  const user = await createUser(fresh);
  await grant(fresh, user, 100);
  await asOwner(fresh, async (client) => {
    await takeCheckpoint(client);
    const receipt = await asService(fresh, async (other) => {
      await other.query("set local lock_timeout = '1ms'");
      return await rpc(other, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 });
    });
    expect(receipt.success).toBe(true);
  });
  await fresh.drop();
});
