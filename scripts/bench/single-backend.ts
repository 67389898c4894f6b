/**
 * One backend by itself, `postgres --single`, which reads its statements and ends: natively, or under callgrind, which
 * counts every instruction. Nothing else runs in it, no vacuum and no other connection, so that the same statements on
 * the same data are the same instructions, whatever the machine does meanwhile.
 *
 * valgrind is a package of every Linux distribution; it is looked for on the PATH, or where VALGRIND says.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import {
  makePrivateDirectory,
  type NativePostgres,
  postgresEnvironment,
  postgresUser,
} from "local-platform/postgres/native";
import { serverSettings } from "local-platform/postgres/server";
import { Failure } from "local-platform/terminal/failure";
import { temporaryFolder } from "local-platform/testing/server";
import { project } from "../project.ts";
import { type Part, readParts } from "./callgrind.ts";

const valgrind = process.env["VALGRIND"] ?? "valgrind";

/** Which valgrind it is, `valgrind-3.19.0`. @throws Failure when there is none. */
export function valgrindVersion(): string {
  const { status, stdout } = spawnSync(valgrind, ["--version"], { encoding: "utf8" });
  if (status !== 0)
    throw new Failure(
      `There is no valgrind${process.env["VALGRIND"] === undefined ? "" : ` at ${valgrind}`}, which counts the instructions. ` +
        "Install it (Debian, Ubuntu: apt-get install valgrind), or say where it is in VALGRIND. There is none for macOS.",
    );
  return stdout.trim();
}

/** Ends one part of what callgrind writes, and begins the next. Nothing that is counted asks for a random number. */
export const mark = "select pg_catalog.random()";

/** The C function behind {@link mark}. */
const markedBy = "drandom";

export interface Backend {
  native: NativePostgres;
  /** The folder of a server that has stopped. Each run has a copy of it. */
  dataDir: string;
}

export interface Ran {
  /** What it answered. */
  output: string;
  /** What it logged. */
  log: string;
  /** What callgrind wrote, between one mark and the next. */
  parts: Part[];
}

/** Runs the statements in a copy of the data. @throws Error when one of them fails */
export async function runAlone(
  backend: Backend,
  statements: readonly string[],
  { counted = false, settings = {} }: { counted?: boolean; settings?: Record<string, string> } = {},
): Promise<Ran> {
  const { native, dataDir } = backend;
  const user = postgresUser(dataDir);
  // in memory where there is enough, and named so that the next start of a test server clears away what was killed
  const directory = join(temporaryFolder(), `${project.name}-test-${process.pid}-alone`);
  rmSync(directory, { recursive: true, force: true });
  makePrivateDirectory(directory, user);
  try {
    const copied = spawnSync("cp", ["-a", dataDir, directory], { encoding: "utf8" });
    if (copied.status !== 0) throw new Failure(`The data could not be copied: ${copied.stderr}`);
    const dump = join(directory, "callgrind.out");
    const command = [
      ...(counted
        ? [
            valgrind,
            "--tool=callgrind",
            `--callgrind-out-file=${dump}`,
            "--combine-dumps=yes",
            `--dump-before=${markedBy}`,
          ]
        : []),
      join(native.directory, "bin", "postgres"),
      "--single",
      "-j", // a statement ends with a semicolon and an empty line
      "-D",
      join(directory, basename(dataDir)),
      ...Object.entries({ ...serverSettings, ...alone, ...settings }).flatMap(([name, value]) => [
        "-c",
        `${name}=${value}`,
      ]),
      "postgres",
    ];
    const { status, output, log } = await execute(command, directory, statements, user);
    const error = /(ERROR|FATAL|PANIC): .*(\n.*){0,3}/.exec(log)?.[0];
    if (error !== undefined || status !== 0)
      throw new Error(`postgres --single failed (${status}): ${error ?? log.slice(-2_000)}`);
    return { output, log, parts: counted ? readParts(readFileSync(dump, "utf8")) : [] };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * What a commit does is counted, and it writes its part of the log; but no page is written whole because it is the first
 * time after a checkpoint.
 */
const alone = { fsync: "off", full_page_writes: "off" };

function execute(
  [program, ...args]: string[],
  directory: string,
  statements: readonly string[],
  user: ReturnType<typeof postgresUser>,
): Promise<{ status: number | null; output: string; log: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, { cwd: directory, env: postgresEnvironment(), ...user });
    let output = "";
    let log = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    // it may end before it has read everything: its log says why
    child.stdin.on("error", () => {});
    child.stdin.end(statements.map((statement) => `${statement.replaceAll(/\n\s*\n/g, "\n")};\n\n`).join(""));
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output, log }));
  });
}

/** The values of a column in what a backend by itself has answered, `1: facts = "…"\t(typeid = …)`. */
export function valuesOf(output: string, column: string): string[] {
  return [...output.matchAll(new RegExp(`\\t 1: ${column} = "(.*)"\\t\\(typeid`, "g"))].map(
    ([, value]) => value!,
  );
}
