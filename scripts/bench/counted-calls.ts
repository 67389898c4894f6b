/** The calls whose instructions are counted, and the users that they are made for. */
import pg from "pg";
import { type PostgresServer, superuser } from "local-platform/postgres/server";
import { balance, type Contender, contenders, deduct, floor, user } from "./contenders.ts";
import { prepare } from "./measure.ts";

export interface CountedCall {
  name: string;
  /** Of the argument $1, the user, or with `items` all of them; and of $2. */
  types: string;
  statement: string;
  /** What is done for each user beforehand; its result is the argument $2. An expression of `u`, the user. */
  second?: string;
  /** Ledger entries that one call makes. */
  entries: number;
  /** So many users in one call, and the figure is for one of them. */
  items?: number;
  /** So many deductions before, in each user's ledger. */
  spent?: number;
  /** Functions that the call must not come to: those of the full path, where it is to take the fast one. */
  never: readonly string[];
}

/** Paths that these calls never reach: nothing is due, no lock is contended and no user is new. */
const neverAtAll = ["record_expiries", "queue_for_account", "answer_busy", "grant_initial_plan"];

const of = (contender: Contender, never: readonly string[] = []): CountedCall => ({
  name: contender.name,
  types: "uuid",
  statement: contender.script.replace(user, "$1").replace(/;$/, ""),
  entries: contender.entries,
  never,
});

function named(name: string): Contender {
  const found = contenders.find((one) => one.name === name);
  if (found === undefined) throw new Error(`scripts/bench/contenders.ts has no ${name}`);
  return found;
}

const hold = "(public.reserve_tokens(u, 2, 86400) ->> 'hold_id')::uuid";

/** In the order of the table; the loop among the first, because only the first half of the users have its grants. */
export const countedCalls: readonly CountedCall[] = [
  of(floor),
  of(named("loop")),
  of(deduct, ["decide_spending"]),
  {
    name: "deduct-keyed",
    types: "uuid, text",
    statement: "select public.deduct_tokens_with_fifo($1, 1, 'chat_conversation', $2)",
    second: "'request-' || md5(u::text)",
    entries: 1,
    never: ["decide_spending"],
  },
  of(named("track")),
  {
    name: "hold",
    types: "uuid",
    statement: "select public.reserve_tokens($1, 2)",
    entries: 1,
    never: [],
  },
  {
    name: "capture",
    types: "uuid, uuid",
    statement: "select public.capture_tokens($1, $2, 2)",
    second: hold,
    entries: 1,
    never: [],
  },
  {
    name: "capture-part",
    types: "uuid, uuid",
    statement: "select public.capture_tokens($1, $2, 1)",
    second: hold,
    entries: 2, // and what is given back
    never: [],
  },
  {
    name: "release",
    types: "uuid, uuid",
    statement: "select public.release_tokens($1, $2)",
    second: hold,
    entries: 1,
    never: [],
  },
  of(named("grant")),
  {
    name: "refund",
    types: "uuid, bigint",
    statement: "select public.refund_tokens($1, p_transaction_id => $2)",
    second: "(public.deduct_tokens_with_fifo(u, 2) ->> 'transaction_id')::bigint",
    entries: 1,
    never: [],
  },
  of(balance, ["authorize"]),
  { ...of(named("history")), spent: 60 },
  {
    name: "history-20",
    types: "uuid",
    statement: "select public.get_token_history($1, 20)",
    entries: 0,
    spent: 60,
    never: [],
  },
  {
    name: "batch",
    types: "jsonb",
    statement: "select public.deduct_tokens_batch($1)",
    entries: 100,
    items: 100,
    never: ["spend_tokens"],
  },
];

/** Of the calls of one kind: these first, so that everything is in the caches and planned, and then those that count. */
export function numberOf(call: CountedCall): { warm: number; counted: number } {
  return call.items === undefined ? { warm: 10, counted: 60 } : { warm: 2, counted: 4 };
}

/** One statement for each call, of users of its own: `execute counted(…)`. */
export type Executions = ReadonlyMap<string, readonly string[]>;

/**
 * Writes the books of as many users as the calls need, as they are in the middle of a day: each has spent before on
 * this day, and the first time is another path.
 *
 * @returns what to execute for each call, by its name
 */
export async function prepareCalls(
  server: PostgresServer,
  calls: readonly CountedCall[],
  say: (text: string) => void,
): Promise<Executions> {
  const usersOf = (call: CountedCall) => {
    const { warm, counted } = numberOf(call);
    return (warm + counted) * (call.items ?? 1);
  };
  const usual = calls.filter((call) => call.spent === undefined);
  const half = Math.ceil(usual.reduce((sum, call) => sum + usersOf(call), 0) / 2);
  await prepare({ server, effort: { users: half }, say });

  const as = async (role: string, options?: string) => {
    const client = new pg.Client({ connectionString: server.url("postgres", role), options });
    await client.connect();
    return client;
  };
  const owner = await as(superuser);
  const service = await as("authenticator", "-c role=service_role");
  try {
    await requireFunctions(owner, [...neverAtAll, ...calls.flatMap(({ never }) => never)]);
    const executions = new Map<string, string[]>();
    let next = 1;
    let nextSpent = 2 * half + 1;
    for (const call of calls) {
      say(`what ${call.name} needs`);
      const count = usersOf(call);
      let first = next;
      if (call.spent === undefined) next += count;
      else {
        first = nextSpent;
        nextSpent += count;
        await owner.query("select bench.add_users($1, $2, p_spent => $3)", [
          first,
          first + count - 1,
          call.spent,
        ]);
      }
      const users = await owner.query<{ id: string }>(
        "select bench.user(n) as id from generate_series($1::int, $2::int) n order by n",
        [first, first + count - 1],
      );
      const ids = users.rows.map(({ id }) => id);
      await service.query(
        "select public.deduct_tokens_with_fifo(u, 1, 'chat_conversation') from unnest($1::uuid[]) u",
        [ids],
      );
      const before = await service.query<{ second: string | null }>(
        `select (${call.second ?? "null"})::text as second from unnest($1::uuid[]) with ordinality as _ (u, n) order by n`,
        [ids],
      );
      executions.set(
        call.name,
        call.items === undefined
          ? ids.map((id, i) => executionOf(id, before.rows[i]!.second))
          : inGroups(ids, call.items).map((group) =>
              executionOf(JSON.stringify(group.map((id) => ({ user_id: id, tokens: 1 })))),
            ),
      );
    }
    await owner.query("vacuum analyze");
    await owner.query("checkpoint");
    return executions;
  } finally {
    await service.end();
    await owner.end();
  }
}

/** The functions that the calls of this kind must not come to. */
export function forbidden(call: CountedCall): readonly string[] {
  return [...neverAtAll, ...call.never];
}

/** A path that is forbidden by a name that nothing has any more would be open. */
async function requireFunctions(client: pg.Client, names: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "select distinct name from unnest($1::text[]) name where not exists (select from pg_proc where pronamespace = 'tokenbook'::regnamespace and proname = name)",
    [names],
  );
  if (rows.length > 0)
    throw new Error(
      `scripts/bench/counted-calls.ts names functions that are not there: ${rows.map(({ name }) => name).join(", ")}`,
    );
}

function executionOf(...values: (string | null)[]): string {
  return `execute counted(${values.flatMap((value) => (value === null ? [] : pg.escapeLiteral(value))).join(", ")})`;
}

function inGroups<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
