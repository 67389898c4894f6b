import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";
import type pg from "pg";
import { select } from "../../packages/tokenbook/src/data/client.ts";
import { tokenbookAdmin } from "../../packages/tokenbook/src/admin/index.ts";
import { tokenbook } from "../../packages/tokenbook/src/client/index.ts";
import { readable } from "../../packages/tokenbook/src/terminal/progress.ts";
import { all as everybody, atFirst, nextSize, rangeOf } from "../../console/src/admin/pieces.ts";
import { askedInSql } from "./asked-in-sql.ts";
import { loggedPlans, type Plan } from "./logged-plans.ts";

export interface Request {
  page: string;
  request: string;
  /** Of a processor, as a rule: what else the machine does is not in it. */
  processor: number;
  /** By the clock. */
  median: number;
  slowest: number;
  rows: number;
  /** How the longest statement in it is run. */
  plan?: Plan | undefined;
}

export interface Measured {
  /** What was asked about. */
  data: string;
  requests: Request[];
  /** Of a sample of users, what in their books is not sound: of which there is nothing. */
  breaches: number;
}

interface Took {
  ms: number;
  processor: number;
}

interface Asking {
  page: string;
  request: string;
  ask: () => Promise<unknown>;
}

const dayMs = 86_400_000;

/**
 * Writes a project of that many users into an empty database (console-data.sql), of whom one has `heavy` uses, and asks
 * as an admin all that the console's pages for admins ask.
 */
export async function measureConsole(
  client: pg.Client,
  { times, ...sizes }: { users: number; heavy: number; times: number },
  { say = () => {}, hasPlans = false }: { say?: (text: string) => void; hasPlans?: boolean } = {},
): Promise<Measured> {
  const written = await writeProject(client, sizes, say);
  return { ...written, requests: await askAll(client, times, say, hasPlans) };
}

async function writeProject(
  client: pg.Client,
  { users, heavy }: { users: number; heavy: number },
  say: (text: string) => void,
): Promise<Pick<Measured, "data" | "breaches">> {
  say(`writing the books of ${readable(users)} users`);
  await client.query("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)");
  for (const [name, value] of Object.entries({ users, heavy }))
    await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
  for (const file of ["copies.sql", "console-data.sql"])
    await client.query(await readFile(new URL(file, import.meta.url), "utf8"));
  say("vacuum and analyze");
  await client.query("vacuum analyze");
  const [made] = await select<Record<string, string>>(
    client,
    `select (select count(*) from auth.users) as users, (select count(*) from public.token_transactions) as entries,
            (select count(*) from public.token_usage) as uses, (select count(*) from public.token_balances) as grants,
            (select count(*) from public.token_payments) as payments, (select count(*) from public.token_holds h where h.status = 'open') as "open holds",
            (select count(*) from tokenbook.webhook_deliveries) as deliveries,
            (select count(*) from tokenbook.provider_payments p where p.parked_reason is not null) as parked,
            (select count(*) from tokenbook.codes) as codes`,
  );
  const data = Object.entries(made!)
    .map(([name, count]) => `${name}=${readable(Number(count))}`)
    .join(" ");
  say("verifying a sample");
  const [sample] = await select<{ count: number }>(
    client,
    `select count(v.*)::int as count
       from (select bench.user(n * greatest($1::integer / 97, 1)) as id from generate_series(0, least($1::integer, 97) - 1) n
             union all values (bench.user(-2))) u
      cross join lateral public.verify_token_ledger(u.id) v`,
    [users],
  );
  return { data, breaches: sample!.count };
}

/**
 * Asks with the clients of the console, each request so many times. First what reports have to add up when nobody has
 * asked for one yet.
 */
export async function askAll(
  client: pg.Client,
  times: number,
  say: (text: string) => void,
  hasPlans: boolean,
): Promise<Request[]> {
  const [who] = await select<{ admin: string; heavy: string; usual: string }>(
    client,
    `select bench.user(-1) as admin, bench.user(-2) as heavy, bench.user(75) as usual`,
  );
  let took: Took[] = [];

  const supabase = askedInSql(
    client,
    {
      role: "authenticated",
      claims: { sub: who!.admin, role: "authenticated", app_metadata: { role: "admin" } },
    },
    (ms, processor) => took.push({ ms, processor }),
  );
  const requests: Request[] = [];
  const keep = (
    { page, request }: Omit<Asking, "ask">,
    all: readonly Took[],
    rows: number,
    plan?: Plan | undefined,
  ) => {
    const sorted = all.map(({ ms }) => ms).toSorted((one, other) => one - other);
    const processors = all.map(({ processor }) => processor).toSorted((one, other) => one - other);
    requests.push({
      page,
      request,
      processor: processors[processors.length >> 1]!,
      median: sorted[sorted.length >> 1]!,
      slowest: sorted.at(-1)!,
      rows,
      plan,
    });
  };

  for (const asking of reports(supabase)) {
    say(`${asking.page}: ${asking.request}`);
    took = [];
    let plan: Plan | undefined;
    for (;;) {
      let answer: unknown;
      if (hasPlans && plan === undefined) {
        ({ plan } = await loggedPlans(client, async () => (answer = await asking.ask())));
        took = []; // what is explained is slower
      } else answer = await asking.ask();
      if ((answer as { success?: false }).success !== false) {
        if (took.length > 0) keep(asking, took, rowsOf(answer), plan);
        break;
      }
    }
  }
  for (const asking of sweeps(supabase)) {
    say(`${asking.page}: ${asking.request}`);
    const all: Took[] = [];
    const tookOfSize = new Map<number, number>();
    let rows = 0;
    let size = atFirst;
    let plan: Plan | undefined;
    for (let from = 0; from < everybody && all.length < 2 * times;) {
      const to = Math.min(everybody, from + size);
      took = [];
      rows += (await asking.ask(rangeOf(from, to))).length;
      all.push(took[0]!);
      tookOfSize.set(size, took[0]!.processor);
      if (hasPlans) plan = (await loggedPlans(client, () => asking.ask(rangeOf(from, to)))).plan;
      size = nextSize(size, tookOfSize);
      from = to;
    }
    keep(asking, all, rows, plan);
  }
  for (const asking of askings(supabase, who!.heavy, who!.usual)) {
    say(`${asking.page}: ${asking.request}`);
    const all: Took[] = [];
    let answer: unknown;
    for (let nth = 0; nth < times; nth++) {
      took = [];
      answer = await asking.ask();
      all.push({
        ms: took.reduce((sum, { ms }) => sum + ms, 0),
        processor: took.reduce((sum, { processor }) => sum + processor, 0),
      });
    }
    const plan = hasPlans ? (await loggedPlans(client, asking.ask)).plan : undefined;
    keep(asking, all, rowsOf(answer), plan);
  }
  return requests;
}

/** What takes long is measured, and not asked twice. */
const patience = { attempts: 1, attemptMs: 600_000 };

type Supabase = ReturnType<typeof askedInSql>;

const monthAgo = () => new Date((Math.floor(Date.now() / dayMs) - 29) * dayMs).toISOString();

const call = async (supabase: Supabase, name: string, args: object) =>
  ((await supabase.rpc(name as never, args as never)) as { data: unknown }).data;

const everyonesUsage = (supabase: Supabase) =>
  call(supabase, "get_token_usage_by", {
    p_for_everyone: true,
    p_bucket: "day",
    p_by: "model",
    p_from: monthAgo(),
  });
const revenue = (supabase: Supabase) =>
  call(supabase, "get_token_revenue", { p_from: monthAgo(), p_bucket: "day" });

/** What nobody has added up yet: each is asked until it answers, and each portion is a request. */
function reports(supabase: Supabase): Asking[] {
  return [
    {
      page: "Money",
      request: "usage of everybody, nothing added up yet: a portion",
      ask: () => everyonesUsage(supabase),
    },
    {
      page: "Money",
      request: "revenue, nothing counted yet: a portion",
      ask: () => revenue(supabase),
    },
  ];
}

/** Pieces of everybody, as large as the page makes them: the first of them. */
function sweeps(supabase: Supabase) {
  const admin = tokenbookAdmin(supabase, { patience });
  type Piece = ReturnType<typeof rangeOf>;
  return [
    {
      page: "Books",
      request: "compared with what was used, a piece",
      ask: (piece: Piece): Promise<unknown[]> => admin.discrepancies({ ...piece, threshold: 0 }),
    },
    {
      page: "Books",
      request: "verified, a piece",
      ask: (piece: Piece): Promise<unknown[]> => admin.verify(piece),
    },
  ];
}

/** What the pages of console/src/admin ask: their queries.ts, and the parts of the user's page that they show. */
function askings(supabase: Supabase, heavy: string, usual: string): Asking[] {
  const admin = tokenbookAdmin(supabase, { patience });
  const from = monthAgo();
  const sorts = ["last_active", "balance", "used", "email"] as const;
  const page = async (sort: (typeof sorts)[number], pages: number) => {
    let after: string | null = null;
    for (let nth = 1; nth < pages; nth++) after = (await admin.users({ sort, after, limit: 50 })).next_after;
    return after;
  };
  const seconds = new Map<string, string | null>();
  const list: Asking[] = [];
  const of = (name: string, asked: Record<string, () => Promise<unknown>>) => {
    for (const [request, ask] of Object.entries(asked)) list.push({ page: name, request, ask });
  };
  for (const sort of sorts)
    of("Users", {
      [`by ${sort}`]: () => admin.users({ sort, descending: sort !== "email", limit: 50 }),
      [`by ${sort}, turned`]: () => admin.users({ sort, descending: sort === "email", limit: 50 }),
    });
  for (const sort of sorts)
    of("Users", {
      [`by ${sort}, the second page`]: async () => {
        if (!seconds.has(sort)) seconds.set(sort, await page(sort, 2));
        return await admin.users({ sort, after: seconds.get(sort)!, limit: 50 });
      },
    });
  of("Users", {
    "searched by a part of an address": () => admin.users({ search: "@customers-77.", limit: 50 }),
    "searched by an id": () => admin.users({ search: usual, limit: 50 }),
    "searched, nobody found": () => admin.users({ search: "no such address", limit: 50 }),
    plans: () => tokenbook(supabase, { patience }).plans.list(),
  });
  for (const [name, userId] of [
    ["A user who uses most", heavy],
    ["A user as many are", usual],
  ] as const) {
    const books = tokenbook(supabase, { userId, patience });
    let before: number | null = null;
    of(name, {
      "account, plan, holds, alerts": () => admin.user(userId),
      balance: () => books.balance(),
      "grants to come": () => books.upcomingGrants(),
      "usage by day and model": () => books.usageBy({ bucket: "day", by: "model", from }),
      ledger: async () => {
        const first = await books.history({ limit: 50 }).page();
        before = first.next_before;
        return first;
      },
      "ledger, the second page": () => books.history({ limit: 50, before }).page(),
      "a charge explained": () => books.explain({ transactionId: userId === heavy ? 500 : 3 }),
      team: () => books.team.members({ limit: 50 }),
      payments: () => admin.payments({ userId, limit: 50 }),
    });
  }
  of("Payments", {
    "waiting, and parked": () => admin.payments({ status: "pending", limit: 200 }),
    "newest, and parked": () => admin.payments({ limit: 30 }),
  });
  for (const [name, userId] of [
    ["Books of who uses most", heavy],
    ["Books of a user as many are", usual],
  ] as const)
    of(name, {
      reconciled: () => admin.reconcile(userId),
      replayed: () => admin.replay({ userId }),
    });
  of("Money", {
    "usage of everybody by day and model": () => everyonesUsage(supabase),
    revenue: () => revenue(supabase),
  });
  of("Codes", { newest: () => admin.codes({ limit: 50 }) });
  of("Webhooks", {
    "deliveries, newest": () => admin.deliveries({ limit: 50 }),
    "deliveries that wait": () => admin.deliveries({ limit: 50, status: "pending" }),
    "deliveries that were given up": () => admin.deliveries({ limit: 50, status: "given_up" }),
  });
  return list;
}

/** How many rows an answer has: of a list, or of the first list in it. */
function rowsOf(answer: unknown): number {
  if (Array.isArray(answer)) return answer.length;
  const list = Object.values((answer ?? {}) as object).find((it) => Array.isArray(it));
  return list === undefined ? 1 : (list as unknown[]).length;
}

/** Lines to print: a table. */
export function tableOf(requests: readonly Request[]): string[] {
  return [
    "| page | request | ms of a processor | median ms | slowest ms | rows |",
    "|---|---|---|---|---|---|",
    ...requests.map(
      ({ page, request, processor, median, slowest, rows }) =>
        `| ${page} | ${request} | ${figure(processor)} | ${figure(median)} | ${figure(slowest)} | ${readable(rows)} |`,
    ),
  ];
}

const figure = (ms: number) => (ms < 10 ? ms.toFixed(1) : readable(Math.round(ms)));

/** What else the machine does: how much ran at a time, on average over a minute and over five. */
export const load = () =>
  loadavg()
    .slice(0, 2)
    .map((it) => it.toFixed(1))
    .join(", ");
