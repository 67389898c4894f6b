/*
 * npm run bench:replay [-- <users>]: how long a replay of everyone takes, and how that compares with
 * writing the very same rows once. On a throwaway database; 50,000 users with 20 transactions each
 * unless told otherwise.
 */
import { readFile } from "node:fs/promises";
import pg from "pg";
import { reportFailure } from "../local/failure.ts";
import { withMigratedDatabase } from "../schema/scratch-database.ts";

try {
  const users = Number(process.argv[2] ?? 50_000);
  await withMigratedDatabase(async (url) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      for (const line of await measure(client, users)) console.log(line);
    } finally {
      await client.end();
    }
  });
} catch (error) {
  reportFailure(error);
}

async function measure(client: pg.Client, users: number): Promise<string[]> {
  const data = await readFile(new URL("replay-data.sql", import.meta.url), "utf8");
  await client.query("select set_config('bench.users', $1, false)", [String(users)]);
  const generated = await seconds(() => client.query(data));
  const { rows: counts } = await client.query(
    `select (select count(*) from public.token_transactions)::int + (select count(*) from public.legacy_token_transactions)::int as transactions,
            (select count(*) from public.token_balances)::int as grants,
            (select count(*) from public.verify_token_ledger())::int as breaches`,
  );
  const replays: number[] = [];
  const copies: number[] = [];
  let found: Record<string, string> = {};
  // in turns, so that a busy moment of the machine does not fall on one of the two alone
  for (let round = 0; round < 3; round++) {
    copies.push(await copy(client));
    replays.push(
      await seconds(async () => {
        const { rows } = await client.query(
          `select count(*) filter (where grant_id is not null) as grants, count(*) filter (where difference <> 0) as differing,
                  sum(difference) as over_granted, sum(uncovered) as uncovered from public.replay_token_balances()`,
        );
        found = rows[0];
      }),
    );
  }
  const [replay, written] = [Math.min(...replays), Math.min(...copies)];
  return [
    `users=${users} transactions=${counts[0].transactions} grants=${counts[0].grants} breaches=${counts[0].breaches} generated_s=${generated.toFixed(1)}`,
    `replayed grants=${found["grants"]} differing=${found["differing"]} over_granted=${found["over_granted"]} uncovered=${found["uncovered"]}`,
    `replay_s=${show(replays)} insert_select_s=${show(copies)}`,
    `replay: ${replay.toFixed(1)} s, ${Math.round(counts[0].transactions / replay)} transactions/s, ${(replay / written).toFixed(2)} times INSERT ... SELECT of the same rows`,
  ];
}

/** Reads the same transactions once and writes them into tables with the same constraints and indexes. */
async function copy(client: pg.Client): Promise<number> {
  await client.query(`
    create table public.bench_copy (like public.token_transactions including all);
    create table public.bench_legacy_copy (like public.legacy_token_transactions including all)`);
  const took = await seconds(async () => {
    await client.query("insert into public.bench_copy select * from public.token_transactions");
    await client.query("insert into public.bench_legacy_copy select * from public.legacy_token_transactions");
  });
  await client.query("drop table public.bench_copy, public.bench_legacy_copy");
  return took;
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

function show(all: number[]): string {
  return all.map((one) => one.toFixed(1)).join("/");
}
