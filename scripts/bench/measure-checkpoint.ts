import { readFile } from "node:fs/promises";
import { takeCheckpoint, verifyCheckpointInPieces } from "../../packages/tokenbook/src/data/checkpoint.ts";
import { select } from "../../packages/tokenbook/src/data/client.ts";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";
import { readable } from "../../packages/tokenbook/src/terminal/progress.ts";

/** How much a call reads, as the commands do. */
const entriesACall = 50_000;

/**
 * Writes a ledger of that many entries into an empty database (checkpoint-data.sql) and makes checkpoints of
 * it: the first, one after 10,000 new entries and one after none; then compares it with the first and the second.
 *
 * @returns lines to print, and how many differences were found: of which there is none.
 */
export async function measureCheckpoint(
  client: SqlClient,
  { entries, users, added = 10_000 }: { entries: number; users: number; added?: number },
  {
    say = () => {},
    cpuSeconds = () => undefined,
  }: { say?: (text: string) => void; cpuSeconds?: () => number | undefined } = {},
): Promise<{ lines: string[]; breaches: number }> {
  const data = await readFile(new URL("checkpoint-data.sql", import.meta.url), "utf8");
  const write = async (from: number, to: number) => {
    for (const [name, value] of Object.entries({ users, from, to })) {
      await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
    }
    await client.query(data);
  };
  const lines: string[] = [];
  /** Does it, and says what it took. */
  const timed = async (what: string, work: () => Promise<number>) => {
    say(what);
    const begin = performance.now();
    const before = cpuSeconds();
    const read = await work();
    const seconds = (performance.now() - begin) / 1000;
    const after = cpuSeconds();
    const cpu =
      before === undefined || after === undefined
        ? ""
        : ` (${(after - before).toFixed(1)} s of the server's CPU)`;
    const rate = read === 0 ? "" : `, ${readable(read / seconds)} entries/s`;
    lines.push(`${what}: ${readable(read)} entries read in ${seconds.toFixed(1)} s${cpu}${rate}`);
  };

  say(`writing ${readable(entries)} entries`);
  for (let from = 0; from < entries; from += 1_000_000) {
    await write(from, Math.min(from + 1_000_000, entries));
    say(`${readable(from)} of ${readable(entries)} entries written`);
  }
  await client.query("vacuum analyze public.token_transactions");
  const [size] = await select<{ ledger: string }>(
    client,
    "select pg_size_pretty(sum(pg_total_relation_size(p.relid))) as ledger from pg_partition_tree('public.token_transactions') p",
  );
  lines.push(`entries=${readable(entries)} users=${readable(users)} ledger with its indexes=${size!.ledger}`);

  const take = async (what: string) => {
    const kept: string[] = [];
    await timed(what, async () => {
      let read = 0;
      for await (const page of takeCheckpoint(client, null, entriesACall)) {
        kept.push(...page.lines);
        read += page.entries_read;
      }
      return read;
    });
    return kept;
  };
  const first = await take("first checkpoint");
  await write(entries, entries + added);
  const second = await take(`after ${readable(added)} new entries`);
  await take("after none");

  let breaches = 0;
  for (const [what, kept, read] of [
    ["verified against the first", first, entries],
    ["verified against the second", second, entries + added],
  ] as const) {
    await timed(what, async () => {
      for await (const piece of verifyCheckpointInPieces(client, each(kept), entriesACall)) {
        breaches += piece.breaches.length;
      }
      return read;
    });
  }
  const [kept] = await select<{ size: string }>(
    client,
    "select pg_size_pretty(pg_total_relation_size('tokenbook.ledger_checkpoints')) as size",
  );
  const bytes = second.reduce((sum, line) => sum + line.length + 1, 0);
  lines.push(
    `differences=${breaches} file=${(bytes / 1e6).toFixed(1)} MB kept in the database=${kept!.size}`,
  );
  return { lines, breaches };
}

async function* each(lines: readonly string[]): AsyncGenerator<string, void, undefined> {
  yield* lines;
}
