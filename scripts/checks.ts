import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { defaultDenoDir } from "local-platform/functions/serve";
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
  const entries = readdirSync(functions, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("_"))
    .map((entry) => entry.name);
  return [
    await check("format", "oxfmt", ["--check"]),
    await check("lint", "oxlint", ["--deny-warnings"]),
    await check("types", "tsc", ["--noEmit"]),
    await check("errors in three places", "tsx", ["scripts/generate-errors.ts", "--check"]),
    await check("generated migrations", "tsx", ["scripts/build-migrations.ts", "--check"]),
    await check("seals of the migrations", "tsx", ["scripts/seal-migrations.ts", "--check"]),
    await check("lint of the migrations", "squawk", migrations),
    await check("lint of the edge functions", "deno", ["lint", "--quiet", functions]),
    // One by one: each has its own deno.json, as when it is deployed.
    ...(await Promise.all(
      entries.map((name) =>
        check(`types of the edge function ${name}`, "deno", [
          ...["check", "--quiet", "--no-lock"],
          ...["--config", join(functions, name, "deno.json")],
          join(functions, name, "index.ts"),
        ]),
      ),
    )),
  ];
}

async function check(name: string, tool: string, args: string[]): Promise<Check> {
  const begin = performance.now();
  const child = spawn(join(projectRoot, "node_modules", ".bin", tool), args, {
    cwd: projectRoot,
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
