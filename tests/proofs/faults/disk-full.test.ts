// @module-tag proof
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { superuser } from "local-platform/postgres/server";
import { breaches } from "../../support/books.ts";
import { seed } from "../../support/dice.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsServer } from "../../support/storm.ts";
import { type Attempt, isRefusal, type Receipt, send, Workload } from "../../support/workload.ts";

let server: DurableServer;
let disk: SmallDisk | undefined;
beforeAll(async () => {
  server = await startDurableServer();
  disk = await moveToSmallDisk();
});
afterAll(async () => {
  await server.close();
  disk?.remove();
});

/** A disk of 24 MB in memory, with the books' tables on it. */
interface SmallDisk {
  remove(): void;
}

/** @returns undefined where only root could make one, and this is not root */
async function moveToSmallDisk(): Promise<SmallDisk | undefined> {
  const place = mkdtempSync(join(tmpdir(), "tokenbook-disk-"));
  chmodSync(place, 0o755);
  const path = join(place, "small");
  mkdirSync(path);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tokenbook", path]).status === 0;
  if (!mounted) {
    rmSync(place, { recursive: true });
    return undefined;
  }
  const { uid, gid } = lstatSync(server.dataDir);
  chownSync(path, uid, gid);
  const admin = new pg.Client({ connectionString: server.db.url(superuser) });
  await admin.connect();
  await admin.query(`create tablespace small location '${path}'`);
  const { rows } = await admin.query(
    `select format('alter table %s set tablespace small', c.oid::regclass) as move from pg_class c
      where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)
     union all
     select format('alter index %s set tablespace small', c.oid::regclass) from pg_class c
      where c.relkind = 'i' and c.relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)`,
  );
  for (const { move } of rows) await admin.query(move);
  await admin.query("create table public.test_filler (filling text) tablespace small");
  await admin.query("alter table public.test_filler alter filling set storage plain");
  await admin.query("alter table public.test_filler owner to postgres");
  await admin.end();
  return {
    remove() {
      spawnSync("umount", [path]);
      rmSync(place, { recursive: true, force: true });
    },
  };
}

/** Takes what room there is. */
async function fill(): Promise<void> {
  for (const size of [1_000_000, 60_000, 1]) {
    const rows = Math.ceil(size / 7_000);
    for (;;) {
      try {
        await server.db.admin.query(
          "insert into public.test_filler select repeat('x', 7000) from generate_series(1, $1)",
          [rows],
        );
      } catch (error) {
        expect((error as { code: string }).code).toBe("53100");
        break;
      }
    }
  }
}

test("a full disk refuses, nothing is half done, and the same calls succeed when there is room again", async () => {
  if (disk === undefined) {
    console.log("disk full: not tried, a small disk can be made by root only; P3 lets every write fail");
    return;
  }
  const users = await Promise.all(Array.from({ length: 20 }, () => createUser(server.db)));
  const work = new Workload(users);
  const client = await connectAsServer(server.db);
  for (const attempt of work.first()) await send(client, attempt);
  await client.end();

  await fill();
  const crowded = await connectAsServer(server.db);
  const mix: Record<string, number> = {};
  const refused: Attempt[] = [];
  const count = (outcome: string) => (mix[outcome] = (mix[outcome] ?? 0) + 1);
  for (let nth = 0; nth < 40_000 && refused.length < 200; nth++) {
    const attempt = work.next();
    try {
      const receipt = await send(crowded, attempt);
      work.learn(attempt, receipt);
      count(receipt.success ? "done" : "without effect");
    } catch (error) {
      if (isRefusal(error)) {
        count(error.message);
        continue;
      }
      count(`${(error as { code: string }).code} no room`);
      refused.push(attempt);
    }
  }
  const whileFull = await breaches(server.db);
  const { rows } = await server.db.admin.query(
    "select count(*)::int as effects from public.token_transactions where idempotency_key = any ($1)",
    [refused.map(({ key }) => key)],
  );

  // truncate would need room for an empty file
  await server.db.admin.query("drop table public.test_filler");
  await crowded.end();
  const roomy = await connectAsServer(server.db);
  const again: Receipt[] = [];
  for (const attempt of refused) {
    await send(roomy, attempt).then(
      (receipt) => again.push(receipt),
      (error: unknown) => {
        if (!isRefusal(error)) throw error;
      },
    );
  }
  await roomy.end();

  console.log(
    `disk full: seed=${seed} mix=${JSON.stringify(mix)} effects of the refused=${rows[0].effects} broken=${whileFull.length}; with room again answered=${again.length} of ${refused.length}`,
  );
  expect(Object.keys(mix).filter((outcome) => /^(?!53100)[\dA-Z]{5} /.test(outcome))).toEqual([]);
  expect(refused.length).toBeGreaterThan(0);
  expect(rows[0].effects).toBe(0);
  expect(whileFull).toEqual([]);
  expect(await breaches(server.db)).toEqual([]);
  const { rows: found } = await server.db.admin.query("select * from public.verify_token_ledger()");
  expect(found).toEqual([]);
}, 120_000);
