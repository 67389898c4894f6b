/** What should have become of the money, told from the whole ledger once more, one sale and one moment at a time. */
import type { QueryResultRow } from "pg";
import type { Database } from "../../support/database.ts";

export interface Sums {
  sold: bigint;
  refunded: bigint;
  recognised: bigint;
  breakage: bigint;
}

interface Part {
  grant: string;
  tokens: bigint;
}

interface Terms {
  payment?: { amount_cents: number };
  refund?: { amount_cents: number; refunded_cents: number; disputed_cents: number; lapsed?: number };
  voids?: string;
}

interface Entry {
  id: number;
  day: string;
  entry_type: string;
  action_type: string;
  tokens: bigint;
  debt_change: bigint;
  parts: Part[];
  payment_id: string | null;
  original_id: number | null;
  terms: Terms | null;
}

const startOf = (moment: Date) => `${moment.toISOString().slice(0, 10)}`;

/**
 * Sums up to and with each of these days and today, by currency. Where a period gives its tokens over time, what has begun
 * is read from the slots in the ledger.
 */
export async function expectedByDay(
  db: Database,
  days: readonly string[],
): Promise<[string, Record<string, Sums>][]> {
  const { rows: users } = await db.admin.query<{ user_id: string }>(
    "select distinct user_id from public.token_transactions",
  );
  const books: Books[] = [];
  for (const { user_id } of users) books.push(await booksOf(db, user_id));
  const today = startOf(new Date());
  return [...new Set([...days, today])].toSorted().map((day) => {
    const all: Record<string, Sums> = {};
    for (const of of books)
      for (const [currency, sums] of sumsOf(of, day, day >= today)) {
        const to = (all[currency] ??= { sold: 0n, refunded: 0n, recognised: 0n, breakage: 0n });
        for (const name of ["sold", "refunded", "recognised", "breakage"] as const) to[name] += sums[name];
      }
    return [day, all];
  });
}

interface Books {
  grants: QueryResultRow[];
  payments: QueryResultRow[];
  entries: Entry[];
}

async function booksOf(db: Database, user: string): Promise<Books> {
  const rowsOf = async (sql: string) => (await db.admin.query(sql, [user])).rows;
  const grants = await rowsOf("select * from public.token_balances where user_id = $1");
  const payments = await rowsOf(
    "select * from public.token_payments where user_id = $1 and tokens is not null",
  );
  const entries: Entry[] = (
    await rowsOf("select * from public.token_transactions where user_id = $1 order by id")
  ).map((row) => ({
    ...row,
    id: Number(row.id),
    original_id: row.original_id === null ? null : Number(row.original_id),
    day: startOf(row.created_at),
    tokens: BigInt(row.tokens),
    debt_change: BigInt(row.debt_change),
    parts: row.grant_ids.map((grant: string, n: number) => ({ grant, tokens: BigInt(row.grant_tokens[n]) })),
  }));
  return { grants, payments, entries };
}

function sumsOf({ grants, payments, entries }: Books, upTo: string, isToday: boolean): [string, Sums][] {
  const grantOf = new Map(grants.map((grant) => [grant.id as string, grant]));
  const saleOf = (id: string): string | null => {
    const grant = grantOf.get(id)!;
    return (
      grant.cost_basis_of ??
      grant.payment_id ??
      (grant.cost_basis_cents === null ? null : (grant.id as string))
    );
  };

  const sums: [string, Sums][] = [];
  const told = (
    sale: string,
    amount: bigint,
    currency: string,
    lastAmount: bigint,
    lastLost: bigint,
    isOverTime: boolean,
  ) => {
    const until = entries.filter((entry) => entry.day <= upTo);
    const isOwn = (part: Part) => saleOf(part.grant) === sale;
    // each token of the sale is somewhere: unspent, used, ended, or gone with its money
    const at = { given: 0n, used: 0n, ended: 0n, gone: 0n };
    let sold = 0n;
    let lost = 0n;
    const inAll = isOverTime ? 28n : 1n; // a slot a day, of four weeks
    let slots = isOverTime ? 0n : 1n;
    let begins: number | null = null;
    let clawed = 0n;
    let lapsed = 0n;
    let isBegun = false;
    for (const entry of until) {
      const is = entry.entry_type;
      const ours = entry.parts.filter(isOwn);
      const n = ours.reduce((sum, part) => sum + part.tokens, 0n);
      if (is === "grant" && n > 0n) {
        at.given += n;
        isBegun = true;
        if (entry.parts[0]!.grant === sale) sold = amount;
        const start = (grantOf.get(entry.parts[0]!.grant)!.granted_at as Date).getTime();
        if (begins === null) begins = start;
        if (isOverTime) {
          const nth = BigInt(Math.floor((start - begins) / 86_400_000)) + 1n;
          if (nth > slots) slots = nth;
        }
      }
      if (entry.payment_id === sale && entry.terms?.payment !== undefined) {
        sold = BigInt(entry.terms.payment.amount_cents);
      }
      const isCorrection = entry.action_type === "admin_deduct";
      if (is === "deduction" || is === "debt_repayment") at[isCorrection ? "ended" : "used"] += n;
      if (is === "refund") at[isCorrection ? "ended" : "used"] -= n;
      if (is === "expiry" || is === "void") at.ended += n;
      if (is === "rollover" && entry.tokens > 0n) {
        const from = entries.find(({ id }) => id === entry.original_id)!;
        if (from.entry_type === "expiry") at.ended -= n;
      }
      if (is === "clawback" || is === "restoration") {
        const sign = is === "clawback" ? 1n : -1n;
        if (entry.payment_id === sale) {
          at.gone += sign * n;
          const refund = entry.terms!.refund!;
          clawed += entry.debt_change - entry.tokens + BigInt(refund.lapsed ?? 0);
          lapsed += BigInt(refund.lapsed ?? 0);
          sold = BigInt(refund.amount_cents);
          lost = BigInt(refund.refunded_cents) + BigInt(refund.disputed_cents);
        } else if (entry.payment_id === null && entry.terms?.voids !== undefined) {
          const voided = entry.terms.voids;
          for (const part of ours) at[part.grant === voided ? "ended" : "used"] += part.tokens;
          if (saleOf(voided) === sale) {
            const own = entry.parts
              .filter(({ grant }) => grant === voided)
              .reduce((sum, p) => sum + p.tokens, 0n);
            const spent = entry.debt_change - entry.tokens - own;
            at.used -= spent;
            at.ended += spent;
          }
        } else at.used += sign * n;
      }
    }
    if (!isBegun) return;
    const ends = begins! + 28 * 86_400_000;
    if (isOverTime && ends <= Date.now() && startOf(new Date(ends)) <= upTo) slots = inAll; // what it did not give it will not give
    if (isToday) {
      sold = lastAmount;
      lost = lastLost;
    }
    if (lost > sold) lost = sold;
    const positive = (value: bigint) => (value > 0n ? value : 0n);
    const used = positive(at.used - (clawed - at.gone - lapsed));
    const ended = positive(at.ended - lapsed);
    const left = positive(at.given - at.used - at.ended - at.gone);
    const tokens = used + ended + left;
    const money = slots < inAll ? ((sold - lost) * slots) / inAll : sold - lost;
    const recognised = tokens > 0n ? (money * used) / tokens : 0n;
    const either = tokens > 0n ? (money * (used + ended)) / tokens : money;
    sums.push([currency, { sold, refunded: lost, recognised, breakage: either - recognised }]);
  };
  for (const payment of payments)
    told(
      payment.id,
      BigInt(payment.amount_cents),
      payment.currency,
      BigInt(payment.amount_cents),
      BigInt(payment.refunded_cents) + BigInt(payment.disputed_cents),
      payment.to_plan === "drip",
    );
  for (const grant of grants)
    if (grant.cost_basis_cents !== null)
      told(
        grant.id,
        BigInt(grant.cost_basis_cents),
        grant.currency,
        BigInt(grant.cost_basis_cents),
        0n,
        false,
      );
  return sums;
}
