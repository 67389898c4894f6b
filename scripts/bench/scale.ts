/*
 * npm run bench:scale [-- --users 1000000 --rounds 5 --uses 19] [--partitions 8] [--only backUp,partitions] [--update]:
 * how far one machine carries. Writes the books of so many users (scale-data.sql; 100 entries each, if nothing else is said) on a server
 * that keeps what it acknowledged, and prints sizes, how long calls take, vacuum, back-up and restore, verify and replay
 * in pieces, and the change to more partitions; with --only some of it. --update writes it into docs/scale.json, in the
 * place of what a run of the same size found, and the tables of docs/guides/scale.md.
 * 100,000,000 entries take about 40 GB on the disk, and once more for the back-up: 80 GB.
 *
 * What a call adds to the disk (callBytes) does not depend on how many users and entries there are. It is measured on
 * books of its own, so --only callBytes writes no others.
 */
import { readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { startPostgres, superuser, type PostgresServer } from "local-platform/postgres/server";
import { copyServer } from "local-platform/testing/standby";
import { choosePlace } from "local-platform/project/place";
import { reportFailure } from "local-platform/terminal/failure";
import { replayUsers } from "../../packages/tokenbook/src/data/replays.ts";
import { userAfter } from "../../packages/tokenbook/src/data/discrepancies.ts";
import {
  analyze,
  begin,
  compare,
  copy,
  exchange,
  ledger,
  planByUser,
} from "../../packages/tokenbook/src/data/partitions.ts";
import { verifyInPieces } from "../../packages/tokenbook/src/data/verification.ts";
import { createProgress, readable } from "../../packages/tokenbook/src/terminal/progress.ts";
import type { Scale, Scales } from "../../website/calculator/figures.ts";
import { project, projectRoot } from "../project.ts";
import { withInstalledDatabase } from "../schema/scratch-database.ts";
import { settingOf, withClient } from "./on-scratch.ts";
import { pgbench } from "./pgbench.ts";
import { withScaleTables } from "./scale-page.ts";

const { values } = parseArgs({
  options: {
    users: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "5" },
    uses: { type: "string", default: "19" },
    partitions: { type: "string", default: "8" },
    seconds: { type: "string", default: "20" },
    /** Verify and replay look at so many users, from the first id on. */
    pieces: { type: "string", default: "100000" },
    only: { type: "string" },
    update: { type: "boolean", default: false },
  },
});
const [users, rounds, uses, partitions, seconds, looked] = (
  ["users", "rounds", "uses", "partitions", "seconds", "pieces"] as const
).map((name) => Number(values[name])) as [number, number, number, number, number, number];

const parts = ["callBytes", "calls", "vacuum", "backUp", "verify", "replay", "partitions"] as const;
type Part = (typeof parts)[number];
const only = values.only?.split(",") ?? parts;
const unknown = only.filter((name) => !parts.includes(name as Part));
if (unknown.length > 0) {
  console.error(`--only ${unknown.join(",")}: it knows ${parts.join(", ")}`);
  process.exit(2);
}

/** A call's own, about as long as a UUID, which is what most callers take. */
const draw = "\\set a random(1, 4611686018427387903)\n\\set b random(1, 4611686018427387903)\n";
const key = "'k' || :a || '.' || :b";
const captured = (hold: string) =>
  `${hold} ->> 'hold_id' as hold \\gset\nselect public.capture_tokens(bench.user(:n), :hold, 2, p_model_used => 'bench-model', p_input_tokens => 10, p_output_tokens => 20);`;
const scripts: Record<string, string> = {
  deduct: "select public.deduct_tokens_with_fifo(bench.user(:n), 1, 'chat_conversation');",
  "deduct, keyed": `${draw}select public.deduct_tokens_with_fifo(bench.user(:n), 1, 'chat_conversation', ${key});`,
  track: "select public.track_token_usage(bench.user(:n), 'chat_conversation', 'bench-model', 10, 20, 1);",
  "track, keyed": `${draw}select public.track_token_usage(bench.user(:n), 'chat_conversation', 'bench-model', 10, 20, 1, p_idempotency_key => ${key});`,
  "hold + capture": captured("select public.reserve_tokens(bench.user(:n), 2)"),
  "hold + capture, keyed": captured(
    `${draw}select public.reserve_tokens(bench.user(:n), 2, p_idempotency_key => ${key})`,
  ),
  balance: "select public.get_user_token_balance(bench.user(:n));",
  history: "select public.get_token_history(bench.user(:n));",
};

/** The tables that a spending adds rows to. */
const grown = ["token_transactions", "token_usage", "token_holds"];

const progress = createProgress(process.stderr, { inLogs: true });
const print = (line: string) => {
  progress.clear();
  console.log(line);
};
const megabytes = (bytes: number) => `${readable(bytes / 1e6)} MB`;
const started = performance.now();
const secondsSince = (since: number) => (performance.now() - since) / 1000;
const took = (since: number) => `${secondsSince(since).toFixed(1)} s`;
const entries = users * rounds * (uses + 1);

try {
  const found = await withInstalledDatabase(
    (_url, server) => withClient(server.url("postgres", superuser), (client) => measure(client, server)),
    {
      durable: true,
      settings: {
        max_wal_size: "2GB",
        maintenance_work_mem: "1GB",
        shared_buffers: "4GB",
        checkpoint_timeout: "15min",
      },
    },
  );
  print(`all of it: ${took(started)}`);
  if (values.update) {
    const guide = join(projectRoot, "docs/guides/scale.md");
    const file = join(projectRoot, "docs/scale.json");
    const known = JSON.parse(readFileSync(file, "utf8")) as Scale[];
    const before = known.find((one) => one.entries === entries);
    const others = known.filter((one) => one !== before);
    const all = [{ ...before, ...found } as Scale, ...others].toSorted(
      (one, other) => other.entries - one.entries,
    ) as unknown as Scales;
    writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
    writeFileSync(guide, withScaleTables(readFileSync(guide, "utf8"), all));
  }
} catch (error) {
  progress.clear();
  reportFailure(error);
}

async function measure(client: pg.Client, server: PostgresServer): Promise<Partial<Scale>> {
  const setting = `${await settingOf(client)}, ${Math.round(totalmem() / 2 ** 30)} GB`;
  const found: Partial<Scale> = { users, entries };
  const has = (part: Part) => only.includes(part);
  if (has("callBytes")) found.callBytes = await callBytes();
  if (only.every((part) => part === "callBytes")) return found;
  const whole = await load(client);
  if (values.only === undefined)
    Object.assign(found, { setting, loadSeconds: whole, sizes: await sizesOf(client) });
  if (has("calls")) found.calls = await calls(server, 1);
  if (has("vacuum")) found.vacuumSeconds = await vacuum(client);
  if (has("backUp")) found.backUp = await backUp(client, server);
  if (has("verify")) found.verify = await verify(client);
  if (has("replay")) found.replay = await replay(client);
  if (has("partitions")) found.partitions = await split(server);
  if (has("calls") && has("partitions")) found.calls!.push(...(await calls(server, partitions)));
  return found;
}

/**
 * What one call of each way to spend adds to the tables that keep what was done, with their indexes: their size after
 * many calls for 1,000 users, on a server of its own, by the number of calls. They are emptied before each way.
 */
async function callBytes(): Promise<Scale["callBytes"]> {
  return await withInstalledDatabase(async (_url, server) =>
    withClient(server.url("postgres", superuser), async (client) => {
      await client.query("set session_replication_role = replica");
      await prepare(client, { users: 1000, rounds: 1, uses: 0 });
      await client.query("call bench.write_step(0, 0); call bench.write_accounts()");
      const all: Scale["callBytes"] = {};
      for (const what of Object.keys(scripts).filter((name) => /deduct|track|hold/.test(name))) {
        progress.show(`${took(started)}: bytes of ${what}`);
        await client.query(`truncate ${grown.map((table) => `public.${table}`).join(", ")}`);
        const ran = await pgbench(server, { script: scripts[what]!, clients: 8, seconds, users: [1, 1000] });
        await client.query("vacuum full public.token_holds"); // of a hold's two versions the first is dead: later ones get its place
        const { rows } = await client.query<{ name: string; bytes: number }>(
          `select name, coalesce((select sum(pg_total_relation_size(relid)) from pg_partition_tree(name::regclass)),
                                 pg_total_relation_size(name::regclass))::float8 / $2 as bytes
             from unnest($1::text[]) name`,
          [grown, ran.transactions],
        );
        const written = rows.filter(({ bytes }) => bytes > 10); // an empty table has indexes of a page or two
        all[what] = Object.fromEntries(written.map(({ name, bytes }) => [name, Math.round(bytes)]));
        print(`bytes a call: ${what} (${readable(ran.transactions)} calls): ${JSON.stringify(all[what])}`);
      }
      return all;
    }),
  );
}

/** What the procedures of scale-data.sql are told, and they. */
async function prepare(client: pg.Client, books: Record<string, number>): Promise<void> {
  for (const [name, value] of Object.entries(books))
    await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
  await client.query(readFileSync(new URL("scale-data.sql", import.meta.url), "utf8"));
}

/** Without indexes and triggers, which are made at the end. @returns seconds */
async function load(client: pg.Client): Promise<number> {
  const begun = performance.now();
  await client.query(
    "set synchronous_commit = off; set session_replication_role = replica; set statement_timeout = 0",
  );
  await prepare(client, { users, rounds, uses });
  const { rows: indexes } = await client.query<{
    definition: string;
    name: string;
    constraint: string | null;
  }>(
    `select pg_get_indexdef(i.indexrelid) as definition, i.indexrelid::regclass::text as name,
            (select format('alter table %s add constraint %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
               from pg_constraint c where c.conindid = i.indexrelid and c.contype = 'p') as constraint
       from pg_index i
      where i.indrelid in ('public.token_transactions'::regclass, 'public.token_balances'::regclass)`,
  );
  for (const { name, constraint } of indexes)
    await client.query(
      constraint === null
        ? `drop index ${name}`
        : `alter table ${constraint.split(" ")[2]} drop constraint ${constraint.split(" ")[5]}`,
    );
  for (let round = 0; round < rounds; round++)
    for (let step = 0; step <= uses; step++) {
      await client.query(`call bench.write_step(${round}, ${step})`);
      progress.show(`${took(started)}: ${readable(users * (round * (uses + 1) + step + 1))} entries`);
    }
  await client.query("call bench.write_accounts()");
  print(`load: ${readable(users)} users, ${readable(users * rounds * (uses + 1))} entries in ${took(begun)}`);
  for (const { definition, constraint } of indexes.toSorted((one) => (one.constraint === null ? 1 : -1))) {
    progress.show(`${took(started)}: ${definition}`);
    await client.query(constraint ?? definition.replace(" ON ONLY ", " ON "));
  }
  await client.query("set session_replication_role = default");
  progress.show(`${took(started)}: vacuum, analyze`);
  await client.query("vacuum (freeze, analyze) public.token_accounts");
  await client.query("vacuum (freeze, analyze) public.token_balances");
  await client.query("vacuum (freeze, analyze) public.token_transactions");
  await client.query("checkpoint");
  print(`load with indexes, vacuum and statistics: ${took(begun)}`);
  return secondsSince(begun);
}

async function sizesOf(client: pg.Client): Promise<Scale["sizes"]> {
  const { rows } = await client.query<{ name: string; bytes: string }>(
    `select c.oid::regclass::text as name, pg_relation_size(c.oid) as bytes from pg_class c
      where c.relkind in ('r', 'i') and c.relname ~ '^token_(accounts|balances|transactions)' and pg_relation_size(c.oid) > 1000000
      order by 2 desc`,
  );
  for (const { name, bytes } of rows)
    print(
      `size: ${name}: ${megabytes(Number(bytes))}, ${(Number(bytes) / entries).toFixed(1)} bytes an entry, ${(Number(bytes) / users).toFixed(0)} a user`,
    );
  return Object.fromEntries(rows.map(({ name, bytes }) => [name, Number(bytes)]));
}

async function calls(server: PostgresServer, number: number): Promise<Scale["calls"]> {
  const all: Scale["calls"] = [];
  for (const last of new Set([Math.min(1000, users), users]))
    for (const clients of [1, 8])
      for (const [what, script] of Object.entries(scripts)) {
        progress.show(`${took(started)}: ${what}, ${readable(last)} users, ${clients} clients`);
        const ran = await pgbench(server, { script, clients, seconds, users: [1, last] });
        const one = {
          partitions: number,
          what,
          users: last,
          clients,
          ms: (1000 * clients) / ran.tps,
          perSecond: ran.tps,
          cpuUs: ran.cpuUs ?? NaN,
          walBytes: ran.walBytes,
        };
        all.push(one);
        print(
          `calls (${number} partitions): ${what}, ${readable(last)} users, ${clients} clients: ${one.ms.toFixed(2)} ms, ${readable(ran.tps)}/s, ${one.cpuUs.toFixed(0)} us of CPU, ${ran.walBytes.toFixed(0)} bytes of WAL`,
        );
      }
  return all;
}

async function vacuum(client: pg.Client): Promise<Scale["vacuumSeconds"]> {
  const all: Scale["vacuumSeconds"] = {};
  for (const table of ["token_accounts", "token_balances", "token_transactions"]) {
    const begun = performance.now();
    progress.show(`${took(started)}: vacuum ${table}`);
    await client.query(`vacuum public.${table}`);
    print(`vacuum after the calls: ${table}: ${took(begun)}`);
    all[table] = secondsSince(begun);
  }
  return all;
}

/** The files as they are copied while the server runs, and a server that starts from them; not where the disk is too small. */
async function backUp(client: pg.Client, { dataDir }: PostgresServer): Promise<Scale["backUp"]> {
  await client.query("checkpoint"); // the log of loading is no part of what is backed up
  const { rows: size } = await client.query<{ bytes: string }>(
    "select (select sum(pg_database_size(oid)) from pg_database) + (select sum(size) from pg_ls_waldir()) as bytes",
  );
  const bytes = Number(size[0]!.bytes);
  const { bavail, bsize } = statfsSync(dataDir);
  if (bytes * 1.1 > bavail * bsize) {
    print(`back-up: not measured, ${megabytes(bytes)} do not fit into ${megabytes(bavail * bsize)}`);
    return null;
  }
  const to = `${dataDir}-restored`;
  const begun = performance.now();
  await copyServer(client, dataDir, to, { withLog: true });
  const copied = secondsSince(begun);
  print(`back-up: ${took(begun)} for a copy of the files, ${megabytes(bytes)}`);
  const restoring = performance.now();
  const restored = await startPostgres({
    dataDir: to,
    port: 0,
    native: choosePlace(project).native,
    durable: true,
  });
  try {
    await withClient(restored.url("postgres", superuser), async (there) => {
      const { rows: found } = await there.query("select count(*)::int as users from public.token_accounts");
      if (found[0].users !== users) throw new Error(`restored ${found[0].users} of ${users} accounts`);
    });
    print(`restore: ${took(restoring)} from its start to the first answer, beside the time of the copy`);
    return { bytes, seconds: copied, restoreSeconds: secondsSince(restoring) };
  } finally {
    await restored.stop();
    rmSync(to, { recursive: true, force: true });
  }
}

async function verify(client: pg.Client): Promise<Scale["verify"]> {
  const begun = performance.now();
  let done = 0;
  let longest = 0;
  let at = begun;
  for await (const piece of verifyInPieces(client, null, 50_000)) {
    if (piece.breaches.length > 0) throw new Error(JSON.stringify(piece.breaches[0]));
    done += piece.users;
    longest = Math.max(longest, performance.now() - at);
    at = performance.now();
    progress.show(`${took(started)}: verified ${readable(done)} users`);
    if (done >= looked) break;
  }
  const each = (performance.now() - begun) / done;
  print(
    `verify in pieces: ${readable(done)} users in ${took(begun)}, longest piece ${(longest / 1000).toFixed(1)} s; all ${readable(users)} would take ${readable((each * users) / 60_000)} min`,
  );
  return { users: done, seconds: secondsSince(begun), longestSeconds: longest / 1000 };
}

async function replay(client: pg.Client): Promise<Scale["replay"]> {
  const begun = performance.now();
  let [done, longest] = [0, 0];
  for (let after: string | null = null; done < Math.min(looked, users);) {
    const at = performance.now();
    const until: string | null = await userAfter(client, after, 5000);
    const replayed = await replayUsers(client, { after, until });
    const wrong = replayed.filter(({ overGranted, underGranted }) => overGranted + underGranted > 0);
    if (wrong.length > 0) throw new Error(JSON.stringify(wrong[0]));
    done += 5000;
    longest = Math.max(longest, performance.now() - at);
    progress.show(`${took(started)}: replayed ${readable(done)} users`);
    if (until === null) break;
    after = until;
  }
  const each = (performance.now() - begun) / done;
  print(
    `replay in pieces: ${readable(done)} users in ${took(begun)}, longest piece ${(longest / 1000).toFixed(1)} s; all ${readable(users)} would take ${readable((each * users) / 60_000)} min`,
  );
  return { users: done, seconds: secondsSince(begun), longestSeconds: longest / 1000 };
}

async function split(server: PostgresServer): Promise<Scale["partitions"]> {
  return await withClient(server.url("postgres", "postgres"), async (owner) => {
    const begun = performance.now();
    await begin(owner, ledger, await planByUser(owner, partitions));
    for await (const part of copy(owner, ledger))
      progress.show(`${took(started)}: copied ${Math.floor(part * 100)} %`);
    print(`partitions: copied into ${partitions} in ${took(begun)}`);
    const copySeconds = secondsSince(begun);
    const comparing = performance.now();
    const { rows: compared } = await compare(owner, ledger, (name) =>
      progress.show(`${took(started)}: comparing ${name}`),
    );
    print(`partitions: ${readable(compared)} entries compared in ${took(comparing)}`);
    const compareSeconds = secondsSince(comparing);
    const exchangeMs = await exchange(owner, ledger);
    print(`partitions: exchanged in ${exchangeMs} ms, in which nobody could write`);
    await analyze(owner, ledger);
    return { number: partitions, copySeconds, compareSeconds, exchangeMs };
  });
}
