// @module-tag proof
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createClient } from "@supabase/supabase-js";
import type { SupabaseClient } from "@supabase/supabase-js";
import pg from "pg";
import { WebSocket } from "ws";
import { startApi } from "local-platform/gateway/api";
import { openDatabase } from "local-platform/testing/database";
import { startTestServer } from "local-platform/testing/server";
import { untilSeen } from "../../src/realtime/tables.ts";
import { openApiDatabase } from "../../src/rest/database.ts";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import { project } from "../project.ts";
import { ALICE, clientOf, commitAtOnce, fast, hears, join, listen, says, SQL } from "./listening.ts";
import type { Heard } from "./listening.ts";

let api: ApiUnderTest;
let clients: SupabaseClient[];
beforeEach(async () => {
  clients = [];
  api = await startApiUnderTest(SQL);
  await commitAtOnce(api);
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.removeAllChannels()));
  await api.close();
});

const run = (sql: string, values: unknown[] = []) => api.db.admin.query(sql, values);
async function as(user?: string, of = api): Promise<SupabaseClient> {
  const client = await clientOf(of, user);
  clients.push(client);
  return client;
}

describe("200 sockets", () => {
  /** How often Postgres was asked who sees rows, counted by a wrapper around the real question. */
  async function counting<T>(use: (of: ApiUnderTest, asked: () => number) => Promise<T>): Promise<T> {
    let asked = 0;
    vi.resetModules();
    vi.doMock("../../src/realtime/visibility.ts", async (original) => {
      const real = await original<typeof import("../../src/realtime/visibility.ts")>();
      return {
        rowsSeenBy: async (...question: Parameters<typeof real.rowsSeenBy>) => {
          asked++;
          return await real.rowsSeenBy(...question);
        },
      };
    });
    const counted = await (await import("../api-under-test.ts")).startApiUnderTest(SQL);
    await commitAtOnce(counted);
    try {
      return await use(counted, () => asked);
    } finally {
      await Promise.all(clients.splice(0).map((client) => client.removeAllChannels()));
      await counted.close();
      vi.doUnmock("../../src/realtime/visibility.ts");
      vi.resetModules();
    }
  }

  test("of 200 users each hear of their own row; nobody is asked of a row that they filter out", async () => {
    await counting(async (of, asked) => {
      const users = Array.from({ length: 200 }, () => randomUUID());
      await of.db.admin.query("insert into public.accounts (user_id) select unnest($1::uuid[])", [users]);
      const heard: Heard[] = [];
      for (const user of users) {
        heard.push(join(await as(user, of), { table: "accounts", filter: `user_id=eq.${user}` }));
      }
      await Promise.all(heard.map((one) => says(one, "ok: Subscribed to PostgreSQL")));
      const begin = performance.now();
      await of.db.admin.query("update public.accounts set balance = 1");
      await expect.poll(() => heard.every(({ changes }) => changes.length > 0), fast).toBe(true);
      const ms = Math.round(performance.now() - begin);
      await sleep(200);
      const strangers = heard.filter(({ changes }, n) =>
        changes.some(({ new: row }) => row.user_id !== users[n]),
      );
      console.log(
        `sockets=200 changes=200 heard=200 strangers=${strangers.length} questions=${asked()} ms=${ms}`,
      );
      expect(heard.map(({ changes }) => changes.length)).toEqual(users.map(() => 1));
      expect(strangers).toEqual([]);
      expect(asked()).toBe(200);
    });
  });

  test("of one user with one token are asked for once", async () => {
    await counting(async (of, asked) => {
      await of.db.admin.query("insert into public.accounts (user_id) values ($1)", [ALICE]);
      const token = await of.token({ sub: ALICE, role: "authenticated" });
      const heard: Heard[] = [];
      for (let n = 0; n < 200; n++) {
        const client = of.clientAs(token);
        clients.push(client);
        await sleep(0);
        heard.push(join(client, { table: "accounts" }));
      }
      await Promise.all(heard.map((one) => says(one, "ok: Subscribed to PostgreSQL")));
      await of.db.admin.query("update public.accounts set balance = 1");
      await expect.poll(() => heard.every(({ changes }) => changes.length === 1), fast).toBe(true);
      console.log(`sockets=200 callers=1 questions=${asked()}`);
      expect(asked()).toBe(1);
    });
  });
});

test("1,000 changes of one transaction come in their order, and one of each row", async () => {
  const anon = await listen(await as(), { table: "posts" });
  const begin = performance.now();
  await run("insert into public.posts select n, 'post ' || n from generate_series(1, 1000) as n");
  const committed = performance.now();
  await expect.poll(() => anon.changes.length, fast).toBe(1000);
  console.log(
    `changes=1000 insert=${Math.round(committed - begin)} ms heard after ${Math.round(performance.now() - committed)} ms`,
  );
  expect(anon.changes.map(({ new: row }) => row.id)).toEqual(Array.from({ length: 1000 }, (_, n) => n + 1));
});

describe("a client that does not read", () => {
  /** @returns whether it was dropped while another one heard of 12 MB in 60 changes. */
  async function isDropped(of: ApiUnderTest): Promise<{ dropped: boolean; heard: number }> {
    const { url } = of.api;
    const query = `vsn=2.0.0&apikey=${of.keys.publishableKey}`;
    const deaf = new WebSocket(`${url.replace("http", "ws")}/realtime/v1/websocket?${query}`);
    let dropped = false;
    deaf.on("error", () => {});
    await new Promise((resolve) => deaf.once("open", resolve));
    const config = { postgres_changes: [{ event: "*", schema: "public", table: "posts" }] };
    deaf.send(JSON.stringify(["1", "1", "realtime:deaf", "phx_join", { config }]));
    await new Promise<void>((resolve) => {
      deaf.on("message", (text: Buffer) => text.toString().includes("Subscribed") && resolve());
    });
    deaf.pause();
    const other = await listen(await as(undefined, of), { table: "posts" });
    await of.db.admin.query("alter table public.posts alter body set storage external");
    for (let n = 1; n <= 60; n++) {
      await of.db.admin.query("insert into public.posts values ($1, 'long', 1, repeat('x', 200000))", [n]);
    }
    await expect.poll(() => other.changes.length, { timeout: 30_000 }).toBe(60);
    await sleep(1_500);
    // what was under way comes first, then the end
    deaf.on("close", () => (dropped = true));
    deaf.resume();
    await sleep(1_000);
    deaf.terminate();
    return { dropped, heard: other.changes.length };
  }

  test("is dropped, and the others hear of everything", async () => {
    expect(await isDropped(api)).toEqual({ dropped: true, heard: 60 });
  });

  test("known-bad: where nobody looks who is behind, what it does not read stays in memory", async () => {
    vi.resetModules();
    vi.doMock("../../src/realtime/slow-clients.ts", () => ({ untilRead: async () => {} }));
    const faulty = await (await import("../api-under-test.ts")).startApiUnderTest(SQL);
    expect(await isDropped(faulty)).toMatchObject({ dropped: false });
    await Promise.all(clients.splice(0).map((client) => client.removeAllChannels()));
    await faulty.close();
    vi.doUnmock("../../src/realtime/slow-clients.ts");
    vi.resetModules();
  });
});

describe("when something ends", () => {
  const slots = async () => {
    const text = "select temporary from pg_replication_slots where database = current_database()";
    return (await run(text)).rows as { temporary: boolean }[];
  };

  test("a client comes back by itself after a restart of the API", async () => {
    const options = { databaseUrlFor: api.db.url, keys: api.keys };
    const first = await startApi({ ...options, port: 0 });
    const client = createClient(first.url, api.keys.publishableKey);
    clients.push(client);
    const heard = await listen(client, { table: "posts" });
    await first.close();
    expect(await slots()).toEqual([]);
    const second = await startApi({ ...options, port: first.port });
    await expect.poll(() => heard.system.length, fast).toBe(2);
    await run("insert into public.posts values (1)");
    await hears(heard, 1);
    expect(heard.statuses[0]).toBe("SUBSCRIBED");
    expect(heard.statuses[1]).toMatch(/^CHANNEL_ERROR/);
    expect(heard.statuses.at(-1)).toBe("SUBSCRIBED");
    await client.removeAllChannels();
    await second.close();
  });

  test("a lost connection to the log is told, made anew, and told again", async () => {
    const heard = await listen(await as(), { table: "posts" });
    expect(await slots()).toEqual([{ temporary: true }]);
    const superuser = new pg.Client({ connectionString: api.db.url("supabase_admin") });
    await superuser.connect();
    await superuser.query(
      "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()",
    );
    await superuser.end();
    await expect
      .poll(() => heard.system, fast)
      .toEqual([
        "ok: Subscribed to PostgreSQL",
        "error: Realtime was unable to connect to the project database",
        "ok: Subscribed to PostgreSQL",
      ]);
    await run("insert into public.posts values (1)");
    await hears(heard, 1);
    expect(await slots()).toEqual([{ temporary: true }]);
  });

  test("a publication that is made anew is read anew", async () => {
    const heard = await listen(await as(), { table: "posts" });
    await run("drop publication supabase_realtime");
    await run("insert into public.posts values (1)");
    await says(heard, "error: Realtime was unable to connect to the project database");
    await run("create publication supabase_realtime for table public.posts");
    await says(heard, "ok: Subscribed to PostgreSQL");
    await run("insert into public.posts values (2)");
    await expect.poll(() => heard.changes.at(-1)?.new.id, fast).toBe(2);
  });

  test("the last channel's end ends the slot, and another one begins a new one", async () => {
    const heard = await listen(await as(), { table: "posts" });
    await heard.client.removeAllChannels();
    await expect.poll(slots, { timeout: 15_000 }).toEqual([]);
    await listen(await as(), { table: "posts" });
    expect(await slots()).toEqual([{ temporary: true }]);
  });

  test("Postgres stops at once while somebody listens, and keeps nothing for them", async () => {
    const server = await startTestServer({ project: { ...project, name: "realtime-stops" } });
    const at = (database: string) => (role: string) =>
      `postgresql://${role}:postgres@127.0.0.1:${server.port}/${database}`;
    const db = openDatabase(
      "template_platform",
      (role) => at("template_platform")(role),
      async () => {},
    );
    const of = await startApiUnderTest(SQL, {}, db);
    const heard = await listen(await as(undefined, of), { table: "posts" });
    await db.admin.query("insert into public.posts select generate_series(1, 1000)");
    await hears(heard, 1000);
    await db.admin.end();
    const begin = performance.now();
    await server.stop();
    const ms = Math.round(performance.now() - begin);
    console.log(`stopped after ${ms} ms`);
    expect(ms).toBeLessThan(5_000);
    await heard.client.removeAllChannels();
    await of.api.close();
    await db.api.end();
  });
});

test("a read of a changed row waits until its transaction is visible: the log has it a moment before", async () => {
  const own = openApiDatabase(api.db.url("postgres"), 2);
  const client = await api.db.admin.connect();
  await client.query("begin");
  const { rows } = await client.query<{ xid: string }>("select pg_current_xact_id()::text as xid");
  let isSeen = false;
  const waiting = untilSeen(own, [Number(rows[0]!.xid)]).then(() => (isSeen = true));
  await sleep(200);
  expect(isSeen).toBe(false);
  await client.query("commit");
  client.release();
  await waiting;
  expect(isSeen).toBe(true);
  await own.close();
});
