/** How many instructions each call is, exactly: `npm run bench -- --instructions`. */
import pg from "pg";
import { requestSettings } from "local-platform/rest/request-settings";
import { superuser } from "local-platform/postgres/server";
import { choosePlace } from "local-platform/project/place";
import type { Part } from "./callgrind.ts";
import {
  type CountedCall,
  countedCalls,
  type Executions,
  forbidden,
  numberOf,
  prepareCalls,
} from "./counted-calls.ts";
import { type Backend, mark, runAlone, valuesOf } from "./single-backend.ts";
import { project } from "../project.ts";
import { withMigratedDatabase } from "../schema/scratch-database.ts";

/** Thousands of instructions. */
export interface Count {
  /** Of a call, when everything that it needs has been used before. */
  call: number;
  /** Of the first call in a new connection, which compiles and plans everything. */
  first: number;
}

/** A database with what all calls need, whose server has stopped. */
export interface Counting {
  backend: Backend;
  executions: Executions;
}

/**
 * Makes the data, which are the same whichever calls are counted, and runs `work` with them.
 *
 * @param change is done to the database first, as its owner
 */
export async function withCounting<Result>(
  work: (counting: Counting) => Promise<Result>,
  say: (text: string) => void,
  change: (url: string) => Promise<void> = async () => {},
): Promise<Result> {
  say("making a database");
  return await withMigratedDatabase(
    async (url, server) => {
      await change(url);
      const executions = await prepareCalls(server, countedCalls, say);
      await server.stop();
      return await work({
        backend: { native: choosePlace(project).native, dataDir: server.dataDir },
        executions,
      });
    },
    // nothing that comes by the clock: the data are to be the same to the byte, as far as they can
    { settings: { autovacuum: "off" } },
  );
}

/** Counts one call. @throws Error when it did something else than it was to do */
export async function countCall(call: CountedCall, counting: Counting): Promise<Count> {
  const { cold, counted } = await countParts(call, counting);
  return { call: counted.total, first: cold.total };
}

/** The same with what is in it, in thousands of instructions a call. */
export async function countParts(
  call: CountedCall,
  counting: Counting,
): Promise<{ cold: Part; counted: Part }> {
  const left = await requirePath(call, counting);
  const { first, warm, rest } = script(call, counting);
  const { parts, output } = await runAlone(
    counting.backend,
    [...asServer(call), mark, ...first, mark, ...warm, mark, mark, ...rest, mark, ...asOwner, entries],
    { counted: true },
  );
  const [, cold, , empty, counted] = parts;
  if (parts.length !== 6) throw new Error(`callgrind wrote ${parts.length} parts, not 6`);
  if (valuesOf(output, "entries")[0] !== left) throw new Error(`${call.name} did something else this time`);
  return {
    cold: less(cold!, empty!, 1),
    counted: less(counted!, empty!, rest.length * (call.items ?? 1)),
  };
}

/** Of one of so many calls, in thousands: without the mark, which is a statement too, and without {@link flush}. */
function less(part: Part, empty: Part, calls: number): Part {
  const withoutFlush = ({ total, inclusive }: Part) => total - (inclusive.get(flush) ?? 0);
  const each = (of: Map<string, number>, outOf: Map<string, number>) =>
    new Map([...of].map(([name, count]) => [name, (count - (outOf.get(name) ?? 0)) / calls / 1000] as const));
  return {
    total: (withoutFlush(part) - withoutFlush(empty)) / calls / 1000,
    self: each(part.self, empty.self),
    inclusive: each(part.inclusive, empty.inclusive),
  };
}

/** Writes a connection's statistics once a second, by the clock: the one thing that depends on how long a run takes. */
const flush = "pgstat_report_stat";

/** Each call, in the order in which they are made. */
export function script({ name, ...call }: CountedCall, { executions }: Counting) {
  const executed = executions.get(name)!;
  const { warm } = numberOf({ name, ...call });
  return {
    calls: executed.length,
    first: [`prepare counted (${call.types}) as ${call.statement}`, executed[0]!],
    warm: executed.slice(1, warm),
    rest: executed.slice(warm),
  };
}

/** Becomes the role that the API connects with, and then the server in a request. */
export const asServer = (call: CountedCall): string[] => [
  "set session authorization authenticator",
  beginRequest(call),
];

/** What the API sets for a request with the secret key. */
export function beginRequest({ statement }: CountedCall): string {
  const path = `/rpc/${/public\.(\w+)/.exec(statement)?.[1] ?? ""}`;
  const request = new Request(`http://127.0.0.1/rest/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const role = "service_role";
  const settings = requestSettings({ role, claims: { role } }, request, path, new Map());
  const set = settings.map(
    ([name, value]) => `set_config(${pg.escapeLiteral(name)}, ${pg.escapeLiteral(value)}, false)`,
  );
  return `select ${set.join(", ")}`;
}

export const asOwner: readonly string[] = ["reset role", `set session authorization ${superuser}`];

const entries = `select coalesce(sum(last_transaction_id), 0) as entries from public.token_accounts`;

/**
 * Makes the same calls natively, and looks which functions they came to.
 *
 * @returns how many entries the ledgers have then
 */
async function requirePath(call: CountedCall, counting: Counting): Promise<string> {
  const { calls, first, warm, rest } = script(call, counting);
  const { output } = await runAlone(
    counting.backend,
    [
      entries,
      ...asServer(call),
      ...first,
      ...warm,
      ...rest,
      ...asOwner,
      "select pg_catalog.pg_stat_force_next_flush()",
      entries,
      "select funcname as came_to from pg_catalog.pg_stat_user_functions where calls > 0 and schemaname = 'tokenbook'",
    ],
    { settings: { track_functions: "pl" } },
  );
  const [before, after] = valuesOf(output, "entries");
  const made = Number(after) - Number(before);
  if (made !== calls * call.entries)
    throw new Error(`${calls} calls of ${call.name} made ${made} ledger entries`);
  if (/"success": false/.test(output)) throw new Error(`a call of ${call.name} had no success`);
  const other = valuesOf(output, "came_to").filter((name) => forbidden(call).includes(name));
  if (other.length > 0)
    throw new Error(`${call.name} is to take another path: it came to ${other.join(" and ")}`);
  return after!;
}
