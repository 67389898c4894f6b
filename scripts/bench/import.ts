/*
 * npm run bench:import [-- <users> [csv]]: how long `tokenbook import` takes for that many users (500,000) with a balance
 * each in a column of another table, or in a CSV file, dry and booked, and again when everyone is done. On a throwaway
 * database.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onScratch } from "./on-scratch.ts";

await onScratch(async ({ client, url, print, printSetting }) => {
  const users = Number(process.argv[2] ?? 500_000);
  const isCsv = process.argv[3] === "csv";
  const folder = mkdtempSync(join(tmpdir(), "tokenbook-bench-"));
  process.once("exit", () => rmSync(folder, { recursive: true }));
  await client.query("create table public.profiles (id uuid primary key, credits numeric)");
  await client.query("set session_replication_role = replica").catch(() => {}); // nobody is registered by this
  await client.query(
    `insert into auth.users (id, aud, role, email)
     select gen_random_uuid(), 'authenticated', 'authenticated', 'user' || n || '@example.com' from generate_series(1, $1) n`,
    [users],
  );
  await client.query(
    "insert into public.profiles select id, (random() * 1000)::numeric(10, 2) from auth.users",
  );
  await client.query("analyze");
  const file = join(folder, "balances.csv");
  if (isCsv) {
    const { rows: balances } = await client.query<{ line: string }>(
      "select id || ',' || credits as line from public.profiles",
    );
    writeFileSync(file, `user_id,tokens\n${balances.map(({ line }) => line).join("\n")}\n`);
  }
  const from = isCsv ? ["csv", "--file", file] : ["profiles.credits"];
  await printSetting(`${users} users of ${from[0]}`);
  for (const [what, args] of [
    ["dry run", []],
    ["booked", ["--book"]],
    ["again", ["--book"]],
  ] as const) {
    const begin = performance.now();
    const said = await tokenbook("import", "--from", ...from, "--json", ...args, "--db-url", url);
    const report = JSON.parse(said) as { taken: number; done_before: number; tokens: number };
    const seconds = (performance.now() - begin) / 1000;
    print(
      `${what}: ${seconds.toFixed(1)} s, ${report.taken} users, ${report.tokens} tokens, ${report.done_before} done before`,
    );
  }
});

async function tokenbook(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, ["--import", "tsx", "packages/tokenbook/src/cli.ts", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  for await (const text of child.stdout.setEncoding("utf8")) output += String(text);
  return output;
}
