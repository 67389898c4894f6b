/*
 * npm run bench [-- --quick] [-- --rounds 3]: the books against the bare writes that they consist of and
 * against what people use instead, in turns on one server that keeps what it has acknowledged. Writes
 * the tables of docs/performance.md, docs/performance.svg and docs/performance.json; --quick leaves
 * out the large database, takes two minutes and only prints.
 * npm run bench -- --growth 10000000: so many deductions without a pause, and nothing else; writes their
 * figures beside those of the last full run.
 * npm run bench -- --against <commit> [--rounds 7]: the calls as they are and as they were at that commit, in turns on one
 * server (scripts/bench/against.ts).
 * npm run bench -- --instructions: the instructions of each call instead, exactly (scripts/bench/instructions.ts).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { superuser } from "local-platform/postgres/server";
import { createProgress } from "../../packages/tokenbook/src/terminal/progress.ts";
import { formatted } from "../schema/formatted.ts";
import { withMigratedDatabase } from "../schema/scratch-database.ts";
import { against } from "./against.ts";
import { chart } from "./chart.ts";
import { instructions } from "./instructions.ts";
import * as measure from "./measure.ts";
import { measureReplay } from "./measure-replay.ts";
import { withClient } from "./on-scratch.ts";
import { type Results, tables } from "./page.ts";
import { pgbenchVersion } from "./pgbench.ts";
import { projectRoot } from "../project.ts";

const quick: measure.Effort = {
  users: 2e3,
  rounds: 1,
  seconds: 1,
  heavyUsers: 4,
  manyUsers: 0,
  manyEntries: 0,
};
const full: measure.Effort = {
  users: 1e4,
  rounds: 5,
  seconds: 4,
  heavyUsers: 20,
  manyUsers: 1e6,
  manyEntries: 1e7,
};

const progress = createProgress(process.stderr, { inLogs: true });
const started = performance.now();
const say = (text: string) => progress.show(`${Math.round((performance.now() - started) / 1000)} s: ${text}`);
const clear = () => progress.clear();
try {
  const args = process.argv.slice(2);
  if (args.includes("--instructions")) await instructions(args, say, clear);
  else if (args.includes("--against")) await against(args, say, clear);
  else await throughput(args);
} catch (error) {
  clear();
  const isOption = String((error as { code?: string }).code).startsWith("ERR_PARSE_ARGS");
  reportFailure(isOption ? new Failure((error as Error).message) : error);
}

async function throughput(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      growth: { type: "string" },
      rounds: { type: "string" },
    },
  });
  const effort = { ...(values.quick ? quick : full) };
  if (values.rounds !== undefined) effort.rounds = atLeastOne("--rounds", values.rounds);
  const growth = values.growth === undefined ? undefined : atLeastOne("--growth", values.growth);
  const tool = await pgbenchVersion();

  const results = await withMigratedDatabase<Results>(async (_, server) => {
    const bench: measure.Bench = { server, effort, say };
    const version = await versionOf(server.url("postgres", superuser));
    const where = `${new Date().toISOString().slice(0, 10)}, PostgreSQL ${version}, ${tool}, Node ${process.versions.node}; ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GB`;
    await measure.prepare(bench);
    if (growth !== undefined)
      return { ...lastResults(), growth: { where, ...(await measure.measureGrowth(bench, growth)) } };
    const contenders = await measure.measureContenders(bench);
    const hot = Object.fromEntries(await measure.measureHotUser(bench));
    const batch = await measure.measureBatch(bench);
    const layers = await measure.measureLayers(bench);
    const flat = await measure.measureFlatness(bench);
    const sweep = await measure.measureSweep(bench);
    const setting = `${where}. ${measure.count(effort.users)} users with three grants each; ${effort.rounds} rounds of ${effort.seconds} s in turns, not counting the first second of each run; ratios are medians of the rounds, with their ends.`;
    return {
      setting,
      contenders,
      hot,
      flat,
      batch,
      sweep,
      replay: await replay(),
      layers,
      growth: lastResults().growth,
    };
  }, measure.asHosted);
  clear();
  if (!values.quick)
    // before anything else can go wrong: it took long
    write("performance.json", await formatted("docs/performance.json", JSON.stringify(results)));
  const found = tables(results);
  console.log(found);
  if (!values.quick) {
    write("performance.svg", chart(results.contenders));
    write("performance.md", withTables(readFileSync(inDocs("performance.md"), "utf8"), found));
    console.log("\nWritten: docs/performance.md, docs/performance.svg, docs/performance.json");
  }
}

function atLeastOne(option: string, text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new Failure(`${option} is a whole number from 1 on, not ${text}.`);
  return Number(text);
}

/** On a server of its own, which need keep nothing: both sides of the ratio are reads and bulk writes. */
async function replay(): Promise<Results["replay"]> {
  say("replay");
  const users = effortOfReplay();
  const { ratio } = await withMigratedDatabase((url) =>
    withClient(url, (client) => measureReplay(client, users)),
  );
  return { ratio, transactions: users * 20 };
}

function effortOfReplay(): number {
  return process.argv.includes("--quick") ? 2_000 : 50_000;
}

function versionOf(url: string): Promise<string> {
  return withClient(
    url,
    async (client) => (await client.query("show server_version")).rows[0].server_version,
  );
}

/** Of the run that docs/performance.json holds. */
function lastResults(): Results {
  return JSON.parse(readFileSync(inDocs("performance.json"), "utf8"));
}

function withTables(page: string, found: string): string {
  const marks = /(<!-- figures of npm run bench -->\n)[^]*(\n<!-- end of figures -->)/;
  if (!marks.test(page)) throw new Error("docs/performance.md has no place for the figures");
  return page.replace(marks, (_, begin: string, end: string) => `${begin}\n${found}\n${end}`);
}

function write(name: string, text: string): void {
  writeFileSync(inDocs(name), text);
}

function inDocs(name: string): string {
  return join(projectRoot, "docs", name);
}
