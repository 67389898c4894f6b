import { readFile } from "node:fs/promises";
import { select } from "../../packages/tokenbook/src/data/client.ts";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";
import { readable } from "../../packages/tokenbook/src/terminal/progress.ts";

const report = "select public.get_token_revenue(null, null, 'day') as answer";

/**
 * Writes the books of that many buyers into an empty database (revenue-data.sql), and asks for the report until it
 * answers; then again, when all is counted, and once more after 1,000 of them have used something.
 *
 * @returns lines to print, the plans of what a report reads among them, and how many users of a sample have books that
 *   are not sound: of which there is none.
 */
export async function measureRevenue(
  client: SqlClient,
  { users, entries }: { users: number; entries: number },
  { say = () => {}, hasPlans = false }: { say?: (text: string) => void; hasPlans?: boolean } = {},
): Promise<{ lines: string[]; breaches: number }> {
  const lines: string[] = [];
  say(`writing ${readable(users * entries)} entries`);
  await client.query("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)");
  for (const [name, value] of Object.entries({ users, entries }))
    await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
  for (const file of ["copies.sql", "revenue-data.sql"])
    await client.query(await readFile(new URL(file, import.meta.url), "utf8"));
  for (const table of [
    "public.token_accounts",
    "public.token_balances",
    "public.token_payments",
    "public.token_transactions",
    "tokenbook.sales",
    "tokenbook.sale_accounts",
  ])
    await client.query(`vacuum analyze ${table}`);
  const [made] = await select<{ buyers: string; entries: string; sales: string }>(
    client,
    `select (select count(*) from tokenbook.sale_accounts) as buyers, (select count(*) from public.token_transactions) as entries,
            (select count(*) from tokenbook.sales) as sales`,
  );
  lines.push(
    `buyers=${readable(Number(made!.buyers))} entries=${readable(Number(made!.entries))} sales=${readable(Number(made!.sales))}`,
  );
  say("verifying a sample");
  const sample = await select<{ count: number }>(
    client,
    `select count(v.*)::int as count from generate_series(0, $1::integer - 1, greatest($1::integer / 97, 1)) n
      cross join lateral public.verify_token_ledger(bench.user(n)) v`,
    [users],
  );
  const breaches = sample[0]!.count;
  lines.push(`of a hundred of them breaches=${breaches}`);

  /** Asks until it answers. @returns what each call took, in milliseconds. */
  const ask = async () => {
    const took: number[] = [];
    for (;;) {
      const begin = performance.now();
      const [row] = await select<{ answer: { success?: false } }>(client, report);
      took.push(performance.now() - begin);
      say(`${took.length} calls`);
      if (row!.answer.success !== false) return took;
    }
  };
  const told = (what: string, took: readonly number[]) => {
    const sorted = took.toSorted((a, b) => a - b);
    const ms = (value: number) => `${Math.round(value)} ms`;
    lines.push(
      `${what}: calls=${took.length} median=${ms(sorted[sorted.length >> 1]!)} slowest=${ms(sorted.at(-1)!)} all=${ms(took.reduce((a, b) => a + b, 0))}`,
    );
  };
  const portion = hasPlans ? await plans(client) : [];
  told("all of the ledger", await ask());
  const again: number[] = [];
  for (let nth = 0; nth < 9; nth++) again.push(...(await ask()));
  told("all is counted, asked nine times", again);
  await client.query(
    "select count(public.deduct_tokens_with_fifo(bench.user(n), 1)) from generate_series(0, least($1::integer, 1000) - 1) n",
    [users],
  );
  told("after 1,000 uses", await ask());
  if (hasPlans) lines.push("the first portion", ...portion, "all is counted", ...(await plans(client)));
  return { lines, breaches };
}

/** How the statements of one report are run, its slowest first. */
async function plans(client: SqlClient): Promise<string[]> {
  const said: string[] = [];
  const listen = (notice: { message?: string }) => said.push(notice.message ?? "");
  const on = client as SqlClient & {
    on(event: "notice", listener: (notice: { message?: string }) => void): void;
    off(event: "notice", listener: (notice: { message?: string }) => void): void;
  };
  await client.query("load 'auto_explain'");
  await client.query(
    `select set_config(name, value, false) from (values ('auto_explain.log_min_duration', '1'), ('auto_explain.log_analyze', 'true'),
       ('auto_explain.log_buffers', 'true'), ('auto_explain.log_nested_statements', 'true'), ('auto_explain.log_level', 'notice')) s (name, value)`,
  );
  on.on("notice", listen);
  await client.query("begin");
  await client.query(report);
  await client.query("rollback");
  on.off("notice", listen);
  await client.query("select set_config('auto_explain.log_min_duration', '-1', false)");
  return said;
}
