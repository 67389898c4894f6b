import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultDenoDir } from "local-platform/functions/serve";
import { stateDirOf } from "local-platform/project/project";
import { project, projectRoot } from "./project.ts";

/** A check of the sources that needs no database. */
export interface Check {
  name: string;
  passed: boolean;
  /** What the tool said. */
  output: string;
  seconds: number;
}

/** Format, lint and types of everything, and the seals of the migrations. */
export async function runChecks(): Promise<Check[]> {
  const functions = join(projectRoot, "supabase", "functions");
  const migrations = readdirSync(join(projectRoot, "supabase", "migrations")).map((file) =>
    join("supabase", "migrations", file),
  );
  return await Promise.all([
    check("format", "oxfmt", ["--check"]),
    check("lint", "oxlint", ["--deny-warnings"]),
    check("types", "tsc", ["--noEmit"]),
    check("errors in three places", "tsx", ["scripts/generate-errors.ts", "--check"]),
    check("generated migrations", "tsx", ["scripts/build-migrations.ts", "--check"]),
    check("seals of the migrations", "tsx", ["scripts/seal-migrations.ts", "--check"]),
    check("lint of the migrations", "squawk", migrations),
    check("lint of the edge functions", "deno", ["lint", "--quiet", functions]),
    checkFunctions(functions),
  ]);
}

/**
 * The types of all edge functions in one run of Deno, which so reads what they share once.
 *
 * Each has a deno.json of its own, as it is deployed. One run can keep them apart as members of a workspace;
 * a workspace's own deno.json would go along with a deployment, so it is made in a copy. Shared code gets
 * what any function lists; that each lists what it needs is tests/install/in-and-out.test.ts.
 */
async function checkFunctions(directory: string): Promise<Check> {
  const copy = join(stateDirOf(project), "functions-checked");
  rmSync(copy, { recursive: true, force: true });
  cpSync(directory, copy, { recursive: true });
  const lists = new Map<string, Record<string, string>>();
  for (const name of readdirSync(copy)) {
    const file = join(copy, name, "deno.json");
    if (!existsSync(file)) continue;
    // A member may not say whether there is a lock file.
    const { lock: _, ...own } = JSON.parse(readFileSync(file, "utf8")) as DenoJson;
    writeFileSync(file, JSON.stringify(own));
    lists.set(name, own.imports);
  }
  const shared = Object.assign({}, ...lists.values()) as Record<string, string>;
  const members = [...lists.keys()].map((name) => `./${name}`);
  writeFileSync(
    join(copy, "deno.json"),
    JSON.stringify({ workspace: members, imports: shared, lock: false }),
  );
  const entries = [...lists.keys()].map((name) => join(copy, name, "index.ts"));
  const result = await check("types of the edge functions", "deno", ["check", "--quiet", ...entries], copy);
  return { ...result, output: result.output.replaceAll(copy, directory) };
}

interface DenoJson {
  imports: Record<string, string>;
  lock?: unknown;
}

async function check(name: string, tool: string, args: string[], cwd = projectRoot): Promise<Check> {
  const begin = performance.now();
  const child = spawn(join(projectRoot, "node_modules", ".bin", tool), args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      DENO_DIR: defaultDenoDir(project),
      DENO_NO_PACKAGE_JSON: "1",
      DENO_NO_UPDATE_CHECK: "1",
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const seconds = (performance.now() - begin) / 1000;
  return { name, passed: status === 0, output: output.trim(), seconds };
}

/** Says how the checks went: a line each, and what the tool said where one failed. */
export function printChecks(checks: Check[]): void {
  for (const { name, passed, output, seconds } of checks) {
    console.log(`${passed ? "✓" : "✗"} ${name} (${seconds.toFixed(1)} s)`);
    if (!passed) console.log(output.replace(/^/gm, "    "));
  }
}
