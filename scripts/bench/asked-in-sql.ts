import { readFileSync } from "node:fs";
import type pg from "pg";
import type { SupabaseLike } from "../../packages/tokenbook/src/client/asking.ts";

/** The caller: the role and the claims of a token, as the data API sets them for a request. */
interface Caller {
  role: "authenticated" | "service_role";
  claims: Record<string, unknown>;
}

const server: Caller = { role: "service_role", claims: { role: "service_role" } };

/** What the edge function `payments` selects for an admin (supabase/functions/payments/list.ts). */
const paymentColumns =
  "user_id, id, status, provider, provider_payment_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency, terms, tokens, refunded_cents, disputed_cents, tokens_clawed_back, reason, created_at, decided_at, decided_by, p.token_offer_now as offer_now, p.token_payment_disagrees as disagrees, p.token_payment_email as email";

/**
 * A client of supabase-js as far as the clients of tokenbook use one: what it is asked, it asks in SQL as the data API
 * does, each question in a transaction of its own, with the caller's role and claims, under row level security. The edge
 * function `payments` asks its two questions.
 *
 * @param took told of each question, how many milliseconds it took, and how many of a processor; without /proc, the same
 */
export function askedInSql(
  client: pg.Client,
  caller: Caller,
  took: (ms: number, processorMs: number) => void,
): SupabaseLike {
  let pid: number | undefined;
  const ask = async (text: string, values: unknown[], { role, claims }: Caller = caller) => {
    await client.query("begin");
    try {
      await client.query(`set local role ${role}`);
      await client.query("select set_config('request.jwt.claims', $1, true)", [JSON.stringify(claims)]);
      pid ??= (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
      const [begin, before] = [performance.now(), processorMs(pid)];
      const { rows } = await client.query<{ answer: unknown }>(text, values);
      took(performance.now() - begin, processorMs(pid) - before);
      return rows[0]!.answer;
    } finally {
      await client.query("commit");
    }
  };
  const all = (query: string) => `select coalesce(json_agg(a), '[]') as answer from (${query}) a`;
  const answered = async (data: Promise<unknown>) => ({ data: await data, error: null, status: 200 });

  const call = async (name: string, args: Record<string, unknown>) => {
    const given = Object.entries(args).filter(([, value]) => value !== undefined);
    const list = given.map(([arg], nth) => `${arg} => $${nth + 1}`).join(", ");
    const { rows } = await client.query<{ proretset: boolean }>(
      "select p.proretset from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = $1",
      [name],
    );
    return await ask(
      rows[0]!.proretset
        ? all(`select * from public.${name}(${list})`)
        : `select public.${name}(${list}) as answer`,
      given.map(([, value]) => value),
    );
  };
  const payments = async (query: URLSearchParams) => {
    const limit = Number(query.get("limit") ?? 50);
    const parked = await call("list_parked_token_payments", { p_limit: limit });
    const wheres = [...query].flatMap(([name, value]) =>
      name === "status" ? [["status", value]] : name === "userId" ? [["user_id", value]] : [],
    );
    const where = wheres.map(([column], nth) => `${column} = $${nth + 1}`).join(" and ") || "true";
    const rows = await ask(
      all(
        `select ${paymentColumns} from public.token_payments p where ${where} order by created_at desc, id limit ${limit}`,
      ),
      wheres.map(([, value]) => value),
      server,
    );
    return { payments: rows, parked };
  };
  const from = (table: string) => {
    const wheres: [string, unknown][] = [];
    const orders: string[] = [];
    let most = "";
    const query = {
      eq: (column: string, value: unknown) => (wheres.push([`${column} =`, value]), query),
      lt: (column: string, value: unknown) => (wheres.push([`${column} <`, value]), query),
      order: (column: string, { ascending }: { ascending: boolean }) => (
        orders.push(`${column} ${ascending ? "asc" : "desc"}`),
        query
      ),
      limit: (count: number) => ((most = ` limit ${count}`), query),
      // oxlint-disable-next-line unicorn/no-thenable -- as supabase-js has it
      then: (...on: Parameters<Promise<unknown>["then"]>) =>
        answered(
          ask(
            all(
              `select * from public.${table}${wheres.length === 0 ? "" : ` where ${wheres.map(([it], nth) => `${it} $${nth + 1}`).join(" and ")}`}${orders.length === 0 ? "" : ` order by ${orders.join(", ")}`}${most}`,
            ),
            wheres.map(([, value]) => value),
          ),
        ).then(...on),
    };
    return { select: () => query };
  };
  return {
    rpc: (name: string, args: Record<string, unknown>) => answered(call(name, args)),
    from,
    functions: {
      invoke: (path: string) => answered(payments(new URLSearchParams(path.split("?")[1]))),
    },
    auth: { getSession: () => Promise.resolve({ data: { session: null } }) },
  } as unknown as SupabaseLike;
}

/** What a process has had of a processor; where that is not told, the time. */
function processorMs(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    return performance.now();
  }
}
