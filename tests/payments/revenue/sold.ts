/** Users who buy, use and lose, the report on them, and what is wrong with it. */
import { expect } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";
import { asService, rpc } from "../../support/roles.ts";
import { expectedByDay, type Sums } from "./oracle.ts";

export type Args = Record<string, unknown>;
export const server = (on: Database, name: string, args: Args) =>
  asService(on, (client) => rpc(client, name, args));
export const give = (on: Database, user: string, tokens: number, cents: number | null, more: Args = {}) =>
  server(on, "grant_tokens", {
    p_user_id: user,
    p_tokens: tokens,
    p_grant_type: "bonus",
    ...(cents === null ? {} : { p_cost_basis_cents: cents, p_currency: "eur" }),
    ...more,
  });
export const spend = (on: Database, user: string, tokens: number) =>
  server(on, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens });
export const buys = (
  on: Database,
  user: string,
  id: string,
  of: "pack" | "drip",
  cents = 1000,
  currency = "usd",
) =>
  recordPaymentEvent(on, id, {
    kind: "paid",
    user_id: user,
    ...(of === "pack" ? { pack_type: "hundred" } : { plan_type: "drip" }),
    amount_cents: cents,
    currency,
  });
export async function revenue(on: Database, args: Args = {}) {
  for (let nth = 0; nth < 1000; nth++) {
    const answer = await server(on, "get_token_revenue", { p_bucket: "all", ...args });
    if (answer.success !== false) return answer;
    expect(answer.code ?? answer.message).toMatch(/busy|PT503/);
  }
  throw new Error("it never came to an end");
}
export const far = { p_from: new Date(Date.now() - 3000 * 86_400_000).toISOString() };

export async function prepared(): Promise<Database> {
  const to = await createDatabase();
  await to.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, lifetime_days, priority, price_cents)
     values ('hundred', 'Hundred', 100, 30, 50, 1000)`,
  );
  await server(to, "set_token_plan", {
    p_plan_type: "drip",
    p_plan: {
      name: "Drip",
      tokens: 10,
      price_cents: 2800,
      billing_cycle: "28day",
      issue_every: "day",
      grant_lifetime_days: 3,
      rank: 12,
    },
    p_reason: "for this test",
  });
  return to;
}

const names = ["sold", "refunded", "recognised", "breakage"] as const;

/** @returns what differs: by currency and name, and by day, what is said and what should be. */
export async function wrongs(on: Database, { byDay = true } = {}): Promise<string[]> {
  const { totals } = await revenue(on, far);
  const from = new Date(Date.now() - 390 * 86_400_000).toISOString();
  const { rows } = await revenue(on, { p_from: from, p_bucket: "day" });
  const days = [...new Set<string>(rows.map((row: { starts_at: string }) => row.starts_at.slice(0, 10)))];
  const expected = await expectedByDay(on, days);
  const said: string[] = [];
  const compare = (where: string, found: Args | undefined, due: Sums | undefined) => {
    for (const name of names) {
      const is = BigInt((found?.[`${name}_cents`] as number | undefined) ?? 0);
      if (is !== (due?.[name] ?? 0n)) said.push(`${where} ${name}: ${is} is to be ${due?.[name]}`);
    }
  };
  const before: Record<string, Sums> = {};
  for (const [day, sums] of expected) {
    for (const currency of new Set([...Object.keys(sums), ...rows.map((row: Args) => row["currency"])])) {
      const was = before[currency] ?? { sold: 0n, refunded: 0n, recognised: 0n, breakage: 0n };
      const is = sums[currency] ?? { sold: 0n, refunded: 0n, recognised: 0n, breakage: 0n };
      const change = Object.fromEntries(names.map((name) => [name, is[name] - was[name]])) as unknown as Sums;
      const row = rows.find(
        (r: Args) => String(r["starts_at"]).startsWith(day) && r["currency"] === currency,
      );
      if (byDay) compare(`${day} ${currency}`, row, change);
      before[currency] = is;
    }
  }
  for (const currency of new Set([...Object.keys(before), ...totals.map((row: Args) => row["currency"])]))
    compare(
      currency,
      totals.find((row: Args) => row["currency"] === currency),
      before[currency],
    );
  return said;
}
