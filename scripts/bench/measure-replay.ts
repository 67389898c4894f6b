import { readFile } from "node:fs/promises";
import { select } from "../../packages/tokenbook/src/data/client.ts";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";

/** What came of it: as lines to print, and what a test looks at. */
export interface Measured {
  lines: string[];
  /** Seconds of the fastest replay, over those of the fastest copy. */
  ratio: number;
  breaches: number;
  overGranted: number;
}

/**
 * Writes the books of that many users (replay-data.sql) into an empty database and replays them three
 * times, in turns with copying the same transactions into new tables.
 */
export async function measureReplay(client: SqlClient, users: number): Promise<Measured> {
  const data = await readFile(new URL("replay-data.sql", import.meta.url), "utf8");
  await client.query("select set_config('bench.users', $1, false)", [String(users)]);
  const generated = await seconds(() => client.query(data));
  const [counts] = await select<Record<string, number>>(
    client,
    `select (select count(*) from public.token_transactions)::int + (select count(*) from public.token_legacy_transactions)::int as transactions,
            (select count(*) from public.token_balances)::int as grants,
            (select count(*) from public.verify_token_ledger())::int as breaches`,
  );
  const replays: number[] = [];
  const copies: number[] = [];
  let found: Record<string, string> | undefined;
  // in turns, so that a busy moment of the machine does not fall on one of the two alone
  for (let round = 0; round < 3; round++) {
    copies.push(await copy(client));
    replays.push(
      await seconds(async () => {
        [found] = await select<Record<string, string>>(
          client,
          `select count(*) filter (where grant_id is not null) as grants, count(*) filter (where difference <> 0) as differing,
                  sum(difference) as over_granted, sum(uncovered) as uncovered from public.replay_token_balances()`,
        );
      }),
    );
  }
  const [replay, written] = [Math.min(...replays), Math.min(...copies)];
  const ratio = replay / written;
  const lines = [
    `users=${users} transactions=${counts!["transactions"]!} grants=${counts!["grants"]!} breaches=${counts!["breaches"]!} generated_s=${generated.toFixed(1)}`,
    `replayed grants=${found!["grants"]} differing=${found!["differing"]} over_granted=${found!["over_granted"]} uncovered=${found!["uncovered"]}`,
    `replay_s=${show(replays)} insert_select_s=${show(copies)}`,
    `replay: ${replay.toFixed(1)} s, ${Math.round(counts!["transactions"]! / replay)} transactions/s, ${ratio.toFixed(2)} times INSERT ... SELECT of the same rows`,
  ];
  return { lines, ratio, breaches: counts!["breaches"]!, overGranted: Number(found!["over_granted"]) };
}

/** Reads the same transactions once and writes them into tables with the same constraints and indexes. */
async function copy(client: SqlClient): Promise<number> {
  await client.query(`
    create table public.bench_copy (like public.token_transactions including all);
    create table public.bench_legacy_copy (like public.token_legacy_transactions including all)`);
  const took = await seconds(async () => {
    await client.query("insert into public.bench_copy select * from public.token_transactions");
    await client.query("insert into public.bench_legacy_copy select * from public.token_legacy_transactions");
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
