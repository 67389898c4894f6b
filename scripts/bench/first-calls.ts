/** The first call in a new connection, in CPU time: what it takes of a processor, and no exact figure. */
import { readFileSync } from "node:fs";
import pg from "pg";
import { startPostgres } from "local-platform/postgres/server";
import { spread } from "./compare.ts";
import { beginRequest, type Counting, script } from "./count-instructions.ts";
import type { CountedCall } from "./counted-calls.ts";

/** Milliseconds, medians, by the name of the call. */
export type FirstCalls = Record<string, number>;

const connections = 11;

/** Of the floor, a deduction and a use that is tracked, those of them that are among the calls; in turns. */
export async function measureFirstCalls(
  calls: readonly CountedCall[],
  counting: Counting,
  say: (text: string) => void,
): Promise<FirstCalls> {
  const measured = calls.filter(({ name }) => ["floor", "deduct", "track"].includes(name));
  if (measured.length === 0) return {};
  say("first calls in new connections");
  const server = await startPostgres({ ...counting.backend, port: 0, durable: false });
  try {
    const found = new Map(measured.map(({ name }) => [name, [] as number[]]));
    for (let nth = 0; nth < connections; nth++)
      for (const call of measured) {
        const [prepare] = script(call, counting).first;
        const execute = counting.executions.get(call.name)![nth]!;
        const client = new pg.Client({ connectionString: server.url("postgres", "authenticator") });
        await client.connect();
        const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
        await client.query(beginRequest(call));
        const before = cpuMs(rows[0]!.pid);
        await client.query(prepare!);
        await client.query(execute);
        found.get(call.name)!.push(cpuMs(rows[0]!.pid) - before);
        await client.end();
      }
    return Object.fromEntries([...found].map(([name, times]) => [name, spread(times).median]));
  } finally {
    await server.stop();
  }
}

/** What a process has had of a processor. */
function cpuMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}
