/** Everything that `npm run bench` measures, one function a table of docs/performance.md. */
import { readFile } from "node:fs/promises";
import type pg from "pg";
import { startApi } from "local-platform/gateway/api";
import { defaultDenoDir } from "local-platform/functions/serve";
import { createKeys } from "local-platform/gateway/keys";
import { type PostgresServer, superuser } from "local-platform/postgres/server";
import { createTokens, userClaims } from "local-platform/gateway/tokens";
import { type Arm, compare, type Figures, spread, type Spread } from "./compare.ts";
import { balance, type Contender, contenders, deduct, floor } from "./contenders.ts";
import { withClient } from "./on-scratch.ts";
import { pgbench, type Ran } from "./pgbench.ts";
import { project } from "../project.ts";

/** How much of everything. */
export interface Effort {
  users: number;
  rounds: number;
  /** Of each run. */
  seconds: number;
  /** Users with 10,000 grants, of each kind. */
  heavyUsers: number;
  /** Users and ledger rows of the large database; 0 leaves it out. */
  manyUsers: number;
  manyEntries: number;
}

export interface Bench {
  server: PostgresServer;
  effort: Effort;
  /** Told what is being done. */
  say: (text: string) => void;
}

/** As a small hosted project: durable, and no checkpoint in the middle of a round. */
export const asHosted = {
  durable: true,
  settings: { shared_buffers: "1GB", max_wal_size: "8GB", checkpoint_timeout: "15min" },
};

export const clientCounts = [1, 8, 32] as const;

/** Connects as the superuser, for what is set up or counted. */
function asSuperuser<Result>(
  { server }: Pick<Bench, "server">,
  work: (client: pg.Client) => Promise<Result>,
  database = "postgres",
): Promise<Result> {
  return withClient(server.url(database, superuser), work);
}

/** Fills a database; the users of `apart` follow the others. */
export async function prepare(
  bench: Pick<Bench, "server" | "say"> & { effort: Pick<Effort, "users"> },
  database = "postgres",
): Promise<void> {
  const { users } = bench.effort;
  bench.say(`writing the books of ${users} users`);
  const fill = async (client: pg.Client) => {
    await client.query("select set_config('bench.users', $1, false)", [String(users)]);
    await client.query(await readFile(new URL("data.sql", import.meta.url), "utf8"));
    await client.query("select bench.add_users($1, $2)", [users + 1, 2 * users]);
    await client.query(
      "insert into auth.users (id) select bench.user(u) from generate_series(1, 2 * $1::int) u",
      [users],
    );
    await client.query("vacuum analyze");
    await client.query("checkpoint");
  };
  await asSuperuser(bench, fill, database);
}

/** Every contender against the floor, by number of clients. */
export async function measureContenders(bench: Bench): Promise<Record<string, Record<number, Figures>>> {
  const { users, rounds, seconds } = bench.effort;
  const table: Record<string, Record<number, Figures>> = {};
  const arms = contenders.map((contender) => armOf(contender, users));
  for (const clients of clientCounts) {
    let run = 0;
    const runs = arms.length * rounds;
    const found = await compare(bench.server, {
      arms,
      base: floor.name,
      clients,
      rounds,
      seconds,
      onRun: (name) => bench.say(`${clients} clients: ${name} (${++run} of ${runs})`),
    });
    for (const [name, figures] of found) (table[name] ??= {})[clients] = figures;
  }
  return table;
}

/** A contender among so many users, or the as many that are apart. */
export const armOf = (contender: Contender, users: number): Arm => ({
  ...contender,
  users: contender.apart === true ? [users + 1, 2 * users] : [1, users],
});

/** One user, 32 clients: one row that all want. */
export async function measureHotUser(bench: Bench): Promise<Map<string, Figures>> {
  const { rounds, seconds, users } = bench.effort;
  const bare = {
    name: "update of one row",
    what: "",
    entries: 0,
    script: "update bench.accounts set balance = balance - 1 where id = bench.user(:n) and balance >= 1;",
  };
  return await compare(bench.server, {
    arms: [bare, floor, deduct].map((one) => ({
      ...one,
      users: [users, users],
    })),
    base: bare.name,
    clients: 32,
    rounds,
    seconds,
    onRun: (name) => bench.say(`one hot user: ${name}`),
  });
}

export interface Flat {
  what: string;
  /** Latency over that of users with three grants, in the same round. */
  deduct: Spread;
  balance: Spread;
}

/**
 * Whether a long past, many open grants or many users make it slower, for them or for those beside them.
 * One client. The base is in a database without any of them: they are in its statistics, which plans are
 * made by, so beside them it could be slow itself and nobody would see it.
 */
export async function measureFlatness(bench: Bench): Promise<Flat[]> {
  const { users, heavyUsers: some, manyUsers, manyEntries } = bench.effort;
  const first = 10_000_000; // above all others
  const base = "base";
  const usual: [number, number] = [first, first + some - 1];
  const cases: { what: string; users: [number, number]; database?: string }[] = [];
  await asSuperuser(bench, async (client) => {
    await client.query("select bench.add_users($1, $2)", usual);
    await client.query("vacuum analyze");
  });
  await copyDatabase(bench, base);
  await asSuperuser(bench, async (client) => {
    const shapes: [what: string, arguments_: string][] = [
      ["10,000 grants used up before", "3, 10000"],
      ["10,000 grants expired before", "3, 10000, true"],
      ["10,000 grants open", "10000"],
    ];
    for (const [nth, [what, given]] of shapes.entries()) {
      bench.say(`writing users with ${what}`);
      const from = first + (nth + 1) * some;
      await client.query(`select bench.add_users($1, $2, ${given})`, [from, from + some - 1]);
      cases.push({ what, users: [from, from + some - 1] });
    }
    cases.push({ what: "three grants, beside users with 10,000", users: usual });
    await client.query("vacuum analyze");
  });
  const found: Flat[] = await against(bench, { users: usual, database: base }, cases);
  if (manyUsers > 0) {
    const database = "many";
    await copyDatabase(bench, database);
    await asSuperuser(
      bench,
      async (client) => {
        const step = 20_000;
        const spent = Math.max(0, Math.round(manyEntries / manyUsers) - 3);
        for (let from = 2 * users + 1; from <= manyUsers; from += step) {
          bench.say(`writing the books of ${manyUsers} users: ${from}`);
          await client.query("select bench.add_users($1, $2, p_spent => $3)", [
            from,
            Math.min(from + step - 1, manyUsers),
            spent,
          ]);
        }
        await client.query("vacuum analyze");
        await client.query("checkpoint");
      },
      database,
    );
    found.push(
      ...(await against(bench, { users: [1, users], database: base }, [
        {
          what: `${count(manyUsers)} users, ${count(manyEntries)} ledger rows, 1,000 of them active`,
          users: [1, 1_000],
          database,
        },
        { what: `${count(manyUsers)} users, drawn evenly`, users: [1, manyUsers], database },
      ])),
    );
  }
  return found;
}

/** A copy of the database as it is, under another name. */
async function copyDatabase(bench: Bench, name: string): Promise<void> {
  bench.say("copying the database");
  await asSuperuser(
    bench,
    async (client) => {
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres' and pid <> pg_backend_pid()",
      );
      await client.query(`create database ${name} template postgres`);
      await client.query("checkpoint");
    },
    "template1",
  );
  await asSuperuser(bench, (client) => client.query("vacuum analyze"), name);
}

/** The latency of cases over that of a base, in turns. */
async function against(
  bench: Bench,
  base: { users: [number, number]; database: string },
  cases: readonly { what: string; users: [number, number]; database?: string }[],
): Promise<Flat[]> {
  const { rounds, seconds } = bench.effort;
  const of = async (contender: typeof deduct): Promise<Map<string, Figures>> =>
    await compare(bench.server, {
      arms: [
        {
          ...contender,
          ...base,
          name: "base",
        },
        ...cases.map(({ what, ...where }) => ({
          ...contender,
          ...where,
          name: what,
        })),
      ],
      base: "base",
      clients: 1,
      rounds,
      seconds,
      onRun: (name) => bench.say(`flat or not: ${contender.name}, ${name}`),
    });
  const [deducts, balances] = [await of(deduct), await of(balance)];
  const slower = ({ ratio }: Figures): Spread => ({
    median: 1 / ratio.median,
    min: 1 / ratio.max,
    max: 1 / ratio.min,
  });
  return cases.map(({ what }) => ({
    what,
    deduct: slower(deducts.get(what)!),
    balance: slower(balances.get(what)!),
  }));
}

export interface Batch {
  /** Deductions a second. */
  batch: number;
  /** Over single deductions of so many clients. */
  over: { clients: number; ratio: Spread }[];
}

/** A call of 1,000 users against calls of one, from 1 and from 8 clients. */
export async function measureBatch(bench: Bench): Promise<Batch> {
  const { rounds, seconds, users } = bench.effort;
  const size = Math.min(1_000, users);
  const script = `select public.deduct_tokens_batch((
  select jsonb_agg(jsonb_build_object('user_id', bench.user((:n + i) % ${users} + 1), 'tokens', 1))
    from generate_series(1, ${size}) i));`;
  const batches: number[] = [];
  const singles: Record<number, number[]> = { 1: [], 8: [] };
  for (let round = 0; round < rounds; round++) {
    bench.say(`batches of ${size}`);
    const range: [number, number] = [1, users];
    const batch = await pgbench(bench.server, { script, clients: 1, seconds, users: range });
    if (Math.abs(batch.entries - size) > 0.01) throw new Error(`a batch made ${batch.entries} entries`);
    batches.push(batch.tps * size);
    for (const clients of [1, 8]) {
      const single = await pgbench(bench.server, { script: deduct.script, clients, seconds, users: range });
      singles[clients]!.push(single.tps);
    }
  }
  return {
    batch: spread(batches).median,
    over: [1, 8].map((clients) => ({
      clients,
      ratio: spread(batches.map((tps, round) => tps / singles[clients]![round]!)),
    })),
  };
}

export interface Sweep {
  accounts: number;
  /** Seconds. */
  sweep: number;
  copy: number;
  ratio: Spread;
}

/** The sweep of accounts with a grant that has run out, against writing the same rows; others each round. */
export async function measureSweep(bench: Bench): Promise<Sweep> {
  const { rounds, users } = bench.effort;
  const accounts = 2 * users;
  return await asSuperuser(bench, async (client) => {
    const took: { sweep: number; copy: number }[] = [];
    for (let round = 1; round <= rounds; round++) {
      const first = 20_000_000 + round * accounts;
      const range = [first, first + accounts - 1];
      bench.say(`writing accounts to be swept (round ${round} of ${rounds})`);
      await client.query("select bench.add_users($1, $2)", range);
      await client.query(
        `update public.token_balances b set expires_at = b.granted_at + interval '1 day'
           from generate_series($1::int, $2::int) u where b.user_id = bench.user(u) and b.id = md5(u || ' 1')::uuid`,
        range,
      );
      await client.query(
        `update public.token_accounts a set next_due_at = now() - interval '1 day'
           from generate_series($1::int, $2::int) u where a.user_id = bench.user(u)`,
        range,
      );
      await client.query("vacuum analyze");
      await client.query("checkpoint"); // or it would have to write what was changed to get here
      const begin = performance.now();
      let swept = 0;
      for (;;) {
        bench.say(`sweeping: ${swept} of ${accounts} (round ${round} of ${rounds})`);
        const { rows } = await client.query("select public.expire_old_token_grants(1000)::int as grants");
        swept += rows[0].grants;
        if (rows[0].grants === 0) break;
      }
      const sweep = (performance.now() - begin) / 1000;
      if (swept !== accounts) throw new Error(`swept ${swept} of ${accounts}`);
      took.push({ sweep, copy: await secondsToCopy(client, first, first + accounts - 1) });
    }
    return {
      accounts,
      sweep: spread(took.map(({ sweep }) => sweep)).median,
      copy: spread(took.map(({ copy }) => copy)).median,
      ratio: spread(took.map(({ sweep, copy }) => sweep / copy)),
    };
  });
}

/** Writes what the sweep of these users wrote into empty tables of the same kind. */
async function secondsToCopy(client: pg.Client, first: number, last: number): Promise<number> {
  // found beforehand: only the writing is to be timed
  await client.query("analyze"); // or the sweep's own rows are looked for as if there were none
  const tables = [
    ["token_transactions", "t.entry_type = 'expiry'"],
    ["token_balances", "t.tokens_remaining = 0"],
    ["token_accounts", "true"],
  ];
  for (const [table, where] of tables)
    await client.query(`
      create temporary table found_${table} as
      select t.* from generate_series(${first}, ${last}) u
        join public.${table} t on t.user_id = bench.user(u) where ${where};
      create table bench.copied_${table} (like public.${table} including all)`);
  await client.query("checkpoint");
  const begin = performance.now();
  for (const [table] of tables)
    await client.query(`insert into bench.copied_${table} select * from found_${table}`);
  const seconds = (performance.now() - begin) / 1000;
  for (const [table] of tables)
    await client.query(`drop table bench.copied_${table}; drop table found_${table}`);
  return seconds;
}

export interface Growth {
  deductions: number;
  /** Deductions a second, and microseconds of CPU each, in the first and the last tenth. */
  first: number;
  last: number;
  firstCpuUs?: number;
  lastCpuUs?: number;
  /** Bytes a deduction. */
  wal: number;
  ledger: number;
  /** Size of the account and grant tables after, over that before. */
  accounts: number;
  grants: number;
  /** Share of their updates that were HOT. */
  hot: number;
}

/** That many deductions without a pause, by 8 clients: whether dead rows pile up. */
export async function measureGrowth(bench: Bench, deductions: number): Promise<Growth> {
  const { users } = bench.effort;
  const sizes = () =>
    asSuperuser(bench, async (client) => {
      const { rows } = await client.query(
        `select pg_total_relation_size('public.token_accounts')::float8 as accounts,
                pg_total_relation_size('public.token_balances')::float8 as grants,
                (select sum(pg_total_relation_size(p.relid)) from pg_partition_tree('public.token_transactions') p)::float8 as ledger,
                (select sum(n_tup_upd) from pg_stat_user_tables where relname in ('token_accounts', 'token_balances'))::float8 as updates,
                (select sum(n_tup_hot_upd) from pg_stat_user_tables where relname in ('token_accounts', 'token_balances'))::float8 as hot`,
      );
      return rows[0] as Record<"accounts" | "grants" | "ledger" | "updates" | "hot", number>;
    });
  const before = await sizes();
  const runs: Ran[] = [];
  let [done, wal] = [0, 0];
  while (done < deductions) {
    bench.say(`without a pause: ${count(done)} of ${count(deductions)} deductions`);
    const ran = await pgbench(bench.server, {
      script: deduct.script,
      clients: 8,
      users: [1, users],
      seconds: 10,
    });
    if (ran.entries !== 1) throw new Error(`a deduction made ${ran.entries} entries`);
    done += ran.transactions;
    wal += ran.walBytes * ran.transactions;
    runs.push(ran);
  }
  const after = await sizes();
  const tenth = Math.max(1, Math.round(runs.length / 10));
  const [first, last] = [runs.slice(0, tenth), runs.slice(-tenth)];
  return {
    deductions: done,
    first: tpsOf(first),
    last: tpsOf(last),
    firstCpuUs: cpuUsOf(first),
    lastCpuUs: cpuUsOf(last),
    wal: wal / done,
    ledger: (after.ledger - before.ledger) / done,
    accounts: after.accounts / before.accounts,
    grants: after.grants / before.grants,
    hot: (after.hot - before.hot) / (after.updates - before.updates),
  };
}

function tpsOf(runs: readonly Ran[]): number {
  return spread(runs.map(({ tps }) => tps)).median;
}

function cpuUsOf(runs: readonly Ran[]): number | undefined {
  const known = runs.flatMap(({ cpuUs }) => cpuUs ?? []);
  return known.length === 0 ? undefined : spread(known).median;
}

export interface Layer {
  what: string;
  /** Median latency in ms of one caller, one call after the other. */
  ms: number;
}

/** The same balance through each layer: what the API and an edge function add. */
export async function measureLayers(bench: Bench): Promise<Layer[]> {
  const { server, effort } = bench;
  const calls = Math.max(100, effort.seconds * 100);
  const keys = await createKeys();
  const { sign } = await createTokens(keys);
  const api = await startApi({
    databaseUrlFor: (role) => server.url("postgres", role),
    keys,
    port: 0,
    functions: { project, denoDir: defaultDenoDir(project), log: () => {} },
  });
  try {
    const userId = await asSuperuser(bench, async (client) => {
      const { rows } = await client.query("select bench.user(1) as id");
      return rows[0].id as string;
    });
    const jwt = await sign(userClaims(api.url, userId));
    const headers = {
      apikey: keys.publishableKey,
      authorization: `Bearer ${jwt}`,
      "content-type": "application/json",
    };
    const ask = async (path: string, init: RequestInit) => {
      const response = await fetch(`${api.url}${path}`, { headers, ...init });
      const body = await response.text();
      if (!response.ok || !body.includes("total_active"))
        throw new Error(`${path}: ${response.status} ${body.slice(0, 200)}`);
    };
    return await asSuperuser(bench, async (client) => {
      const layers: [what: string, call: () => Promise<unknown>][] = [
        [
          "a prepared statement over a connection",
          () =>
            client.query({
              name: "balance",
              text: "select public.get_user_token_balance($1)",
              values: [userId],
            }),
        ],
        [
          "supabase.rpc, through the local API",
          () => ask("/rest/v1/rpc/get_user_token_balance", { method: "POST", body: "{}" }),
        ],
        [
          "the edge function `balance`, through the local API",
          () => ask("/functions/v1/balance", { method: "GET" }),
        ],
      ];
      const found: Layer[] = [];
      for (const [what, call] of layers) {
        bench.say(`layers: ${what}`);
        const took: number[] = [];
        for (let nth = -20; nth < calls; nth++) {
          const begin = performance.now();
          await call();
          if (nth >= 0) took.push(performance.now() - begin);
        }
        found.push({ what, ms: spread(took).median });
      }
      return found;
    });
  } finally {
    await api.close();
  }
}

export function count(number: number): string {
  return number.toLocaleString("en");
}
