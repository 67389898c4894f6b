/*
 * npm run bench:scale [-- --users 1000000 --rounds 5 --uses 19] [--partitions 8]: how far one machine carries. Writes the
 * books of so many users (scale-data.sql; 100 entries each, if nothing else is said) on a server that keeps what it
 * acknowledged, and prints sizes, how long calls take, vacuum, back-up and restore, verify and replay in pieces, and
 * the change to more partitions. 100,000,000 entries take about 40 GB on the disk, and once more for the back-up.
 */
import { readFileSync, rmSync, statfsSync } from "node:fs";
import { parseArgs } from "node:util";
import pg from "pg";
import { startPostgres, superuser, type PostgresServer } from "local-platform/postgres/server";
import { copyServer } from "local-platform/testing/standby";
import { choosePlace } from "local-platform/project/place";
import { reportFailure } from "local-platform/terminal/failure";
import { replayUsers } from "../../packages/tokenbook/src/data/replays.ts";
import { userAfter } from "../../packages/tokenbook/src/data/discrepancies.ts";
import { analyze, begin, compare, copy, exchange } from "../../packages/tokenbook/src/data/partitions.ts";
import { verifyInPieces } from "../../packages/tokenbook/src/data/verification.ts";
import { createProgress, readable } from "../../packages/tokenbook/src/terminal/progress.ts";
import { project } from "../project.ts";
import { withInstalledDatabase } from "../schema/scratch-database.ts";
import { withClient } from "./on-scratch.ts";
import { pgbench } from "./pgbench.ts";

const { values } = parseArgs({
  options: {
    users: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "5" },
    uses: { type: "string", default: "19" },
    partitions: { type: "string", default: "8" },
    seconds: { type: "string", default: "20" },
    /** Verify and replay look at so many users, from the first id on. */
    pieces: { type: "string", default: "100000" },
  },
});
const [users, rounds, uses, partitions, seconds, looked] = (
  ["users", "rounds", "uses", "partitions", "seconds", "pieces"] as const
).map((name) => Number(values[name])) as [number, number, number, number, number, number];

const key = "\\set a random(1, 4611686018427387903)\n\\set b random(1, 4611686018427387903)\n";
const scripts: Record<string, string> = {
  deduct: "select public.deduct_tokens_with_fifo(bench.user(:n), 1, 'chat_conversation');",
  "deduct, keyed": `${key}select public.deduct_tokens_with_fifo(bench.user(:n), 1, 'chat_conversation', 'k' || :a || '.' || :b);`,
  track: "select public.track_token_usage(bench.user(:n), 'chat_conversation', p_tokens_used => 1);",
  balance: "select public.get_user_token_balance(bench.user(:n));",
  history: "select public.get_token_history(bench.user(:n));",
};

const progress = createProgress(process.stderr, { inLogs: true });
const print = (line: string) => {
  progress.clear();
  console.log(line);
};
const megabytes = (bytes: number) => `${readable(bytes / 1e6)} MB`;
const started = performance.now();
const took = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

try {
  await withInstalledDatabase(
    (_url, server) => withClient(server.url("postgres", superuser), (client) => measure(client, server)),
    {
      durable: true,
      settings: {
        max_wal_size: "6GB",
        maintenance_work_mem: "1GB",
        shared_buffers: "4GB",
        checkpoint_timeout: "15min",
      },
    },
  );
} catch (error) {
  progress.clear();
  reportFailure(error);
}

async function measure(client: pg.Client, server: PostgresServer): Promise<void> {
  await load(client);
  await sizes(client);
  await calls(server, "one partition");
  await vacuum(client);
  await backUp(client, server);
  await verify(client);
  await replay(client);
  await split(server);
  await calls(server, `${partitions} partitions`);
  print(`all of it: ${took(started)}`);
}

/** Without indexes and triggers, which are made at the end. */
async function load(client: pg.Client): Promise<void> {
  const begun = performance.now();
  await client.query(
    "set synchronous_commit = off; set session_replication_role = replica; set statement_timeout = 0",
  );
  for (const [name, value] of Object.entries({ users, rounds, uses }))
    await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
  await client.query(readFileSync(new URL("scale-data.sql", import.meta.url), "utf8"));
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
}

async function sizes(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string; bytes: string }>(
    `select c.oid::regclass::text as name, pg_relation_size(c.oid) as bytes from pg_class c
      where c.relkind in ('r', 'i') and c.relname ~ '^token_(accounts|balances|transactions)' and pg_relation_size(c.oid) > 1000000
      order by 2 desc`,
  );
  const entries = users * rounds * (uses + 1);
  for (const { name, bytes } of rows)
    print(
      `size: ${name}: ${megabytes(Number(bytes))}, ${(Number(bytes) / entries).toFixed(1)} bytes an entry, ${(Number(bytes) / users).toFixed(0)} a user`,
    );
}

async function calls(server: PostgresServer, what: string): Promise<void> {
  for (const [among, last] of Object.entries({
    "1,000 active users": Math.min(1000, users),
    "all users, evenly": users,
  }))
    for (const clients of [1, 8])
      for (const [name, script] of Object.entries(scripts)) {
        progress.show(`${took(started)}: ${name}, ${among}, ${clients} clients`);
        const ran = await pgbench(server, { script, clients, seconds, users: [1, last] });
        print(
          `calls (${what}): ${name}, ${among}, ${clients} client${clients > 1 ? "s" : ""}: ${((1000 * clients) / ran.tps).toFixed(2)} ms, ${readable(ran.tps)}/s, ${ran.cpuUs?.toFixed(0)} us of CPU, ${ran.walBytes.toFixed(0)} bytes of WAL`,
        );
      }
}

async function vacuum(client: pg.Client): Promise<void> {
  for (const table of ["public.token_accounts", "public.token_balances", "public.token_transactions"]) {
    const begun = performance.now();
    progress.show(`${took(started)}: vacuum ${table}`);
    await client.query(`vacuum ${table}`);
    print(`vacuum after the calls: ${table}: ${took(begun)}`);
  }
}

/** The files as they are copied while the server runs, and a server that starts from them; not where the disk is too small. */
async function backUp(client: pg.Client, { dataDir }: PostgresServer): Promise<void> {
  const { rows: size } = await client.query<{ bytes: string }>(
    "select (select sum(pg_database_size(oid)) from pg_database) + (select sum(size) from pg_ls_waldir()) as bytes",
  );
  const { bavail, bsize } = statfsSync(dataDir);
  if (Number(size[0]!.bytes) * 1.1 > bavail * bsize) {
    print(
      `back-up: not measured, ${megabytes(Number(size[0]!.bytes))} do not fit into ${megabytes(bavail * bsize)}`,
    );
    return;
  }
  const to = `${dataDir}-restored`;
  const begun = performance.now();
  await copyServer(client, dataDir, to, { withLog: true });
  print(`back-up: ${took(begun)} for a copy of the files`);
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
  } finally {
    await restored.stop();
    rmSync(to, { recursive: true, force: true });
  }
}

async function verify(client: pg.Client): Promise<void> {
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
}

async function replay(client: pg.Client): Promise<void> {
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
}

async function split(server: PostgresServer): Promise<void> {
  await withClient(server.url("postgres", "postgres"), async (owner) => {
    const begun = performance.now();
    await begin(owner, partitions);
    for await (const part of copy(owner))
      progress.show(`${took(started)}: copied ${Math.floor(part * 100)} %`);
    print(`partitions: copied into ${partitions} in ${took(begun)}`);
    const comparing = performance.now();
    const { entries } = await compare(owner, (name) => progress.show(`${took(started)}: comparing ${name}`));
    print(`partitions: ${readable(entries)} entries compared in ${took(comparing)}`);
    print(`partitions: exchanged in ${await exchange(owner, partitions)} ms, in which nobody could write`);
    await analyze(owner);
  });
}
