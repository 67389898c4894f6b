import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Failure } from "../terminal/failure.ts";

/** What the Supabase CLI answered. */
export interface CliResult {
  /** Its exit status; 0 is success. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Which Supabase CLI. */
export interface SupabaseCli {
  /** The program, with what comes before its arguments. */
  command: string[];
  /** Whether a database is named by `--remote`, as since version 3, or by `--db-url`. */
  takesRemote: boolean;
}

/** How to run the Supabase CLI. */
export interface CliOptions {
  /** The folder that holds supabase/; default the current folder, as the CLI's own. */
  workdir?: string;
  /** Default: the one of node_modules. */
  cli?: SupabaseCli;
  /** Put on top of the present environment. */
  env?: NodeJS.ProcessEnv;
  /** Called with each line of stderr as it comes: the CLI tells its progress there. */
  onProgress?: (line: string) => void;
}

function cliOfNodeModules(): SupabaseCli {
  const folder = dirname(createRequire(import.meta.url).resolve("supabase/package.json"));
  return { command: [process.execPath, join(folder, "dist/supabase.js")], takesRemote: true };
}

/** Runs the real Supabase CLI; does not throw when it fails. */
export async function supabase(
  args: string[],
  { workdir = process.cwd(), cli = cliOfNodeModules(), env = {}, onProgress }: CliOptions = {},
): Promise<CliResult> {
  const [program, ...first] = cli.command;
  const child = spawn(program!, [...first, ...args, "--workdir", workdir], {
    cwd: workdir,
    env: {
      ...process.env,
      SUPABASE_TELEMETRY_DISABLED: "1",
      SUPABASE_NO_UPDATE_NOTIFIER: "1",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let line = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    const lines = (line + text).split("\n");
    line = lines.pop()!;
    for (const whole of lines) onProgress?.(whole);
  });
  const status = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
  return { status, stdout, stderr };
}

/** What to migrate. */
export interface MigrationOptions {
  /** The database, as its owner `postgres`. */
  url: string;
  /** The folder that holds supabase/; default the current folder, as the CLI's own. */
  workdir?: string;
  /** Also applies files that are older than the newest applied one. */
  includeAll?: boolean;
  /** Default: the one of node_modules. */
  cli?: SupabaseCli;
  /** Called with a file's name when the CLI begins to apply it. */
  onFile?: (file: string) => void;
}

/**
 * Applies pending migrations with `supabase migration up`.
 *
 * @returns the names of the files applied, in order.
 * @throws Failure with the CLI's own words when a file fails; files before it stay applied.
 */
export async function migrationUp(options: MigrationOptions): Promise<{ applied: string[] }> {
  const { url, workdir = process.cwd(), cli = cliOfNodeModules(), includeAll = false, onFile } = options;
  const { bare, env } = withoutPassword(withoutTlsOnLoopback(url));
  const target = `--${cli.takesRemote ? "remote" : "db-url"}=${bare}`;
  const args = ["migration", "up", target, "--yes", "--output-format=json"];
  if (includeAll) args.push("--include-all");
  const result = await supabase(args, {
    workdir,
    cli,
    env,
    onProgress: (line) => {
      const file = /^Applying migration (\S+\.sql)/.exec(line)?.[1];
      if (file !== undefined) onFile?.(file);
    },
  });
  const answer = parseAnswer(result.stdout);
  if (result.status !== 0 || answer?.applied === undefined) {
    const reason = answer?.error?.message ?? (result.stderr.trim() || result.stdout.trim());
    throw new Failure(`supabase migration up failed: ${reason}`);
  }
  return { applied: answer.applied.map((path) => path.slice(path.lastIndexOf("/") + 1)) };
}

/** A program's arguments are seen by everybody on the machine, its environment is not. */
export function withoutPassword(url: string): { bare: string; env: NodeJS.ProcessEnv } {
  const bare = new URL(url);
  const password = decodeURIComponent(bare.password);
  bare.password = "";
  return { bare: bare.href, env: password === "" ? {} : { PGPASSWORD: password } };
}

/** The CLI tries TLS first and warns when there is none; on this machine there is none. */
function withoutTlsOnLoopback(url: string): string {
  const parsed = new URL(url);
  const isLoopback = ["127.0.0.1", "localhost", "[::1]"].includes(parsed.hostname);
  if (isLoopback && !parsed.searchParams.has("sslmode")) {
    parsed.searchParams.set("sslmode", "disable");
  }
  return parsed.href;
}

function parseAnswer(stdout: string): { applied?: string[]; error?: { message: string } } | undefined {
  try {
    return JSON.parse(stdout) as { applied?: string[]; error?: { message: string } };
  } catch {
    return undefined;
  }
}
