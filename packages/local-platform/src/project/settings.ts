import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { variableOf } from "./project.ts";
import type { Project } from "./project.ts";

/** What the local platform takes from supabase/config.toml. */
export interface Settings {
  projectId: string;
  /** Port of the API on 127.0.0.1. */
  apiPort: number;
  /** Port of Postgres on 127.0.0.1. */
  dbPort: number;
  /** No answer of a table or function has more rows. */
  maxRows: number;
  /** Life of an access token, in seconds. */
  jwtExpirySeconds: number;
  /** By function name; a function without an entry has the platform's default, `verifyJwt: true`. */
  functions: Record<string, { verifyJwt: boolean }>;
}

interface ConfigToml {
  project_id?: string;
  api?: { port?: number; max_rows?: number };
  db?: { port?: number };
  auth?: { jwt_expiry?: number };
  functions?: Record<string, { verify_jwt?: boolean }>;
}

/**
 * Reads supabase/config.toml, which the Supabase CLI reads too, so that both mean the same ports.
 *
 * `<NAME>_API_PORT` and `<NAME>_DB_PORT` put another port in place, so that two checkouts can run side by
 * side; the CLI does not know them.
 *
 * @throws when the file is missing or no TOML, or a port is not a port.
 */
export function readSettings(project: Project, env: NodeJS.ProcessEnv = process.env): Settings {
  const [apiPort, dbPort] = [variableOf(project, "API_PORT"), variableOf(project, "DB_PORT")];
  const config = parse(readFileSync(join(project.root, "supabase", "config.toml"), "utf8")) as ConfigToml;
  const functions = Object.entries(config.functions ?? {}).map(
    ([name, f]) => [name, { verifyJwt: f.verify_jwt ?? true }] as const,
  );
  return {
    projectId: config.project_id ?? "",
    apiPort: port(apiPort, env[apiPort] ?? config.api?.port ?? 54321),
    dbPort: port(dbPort, env[dbPort] ?? config.db?.port ?? 54322),
    maxRows: config.api?.max_rows ?? 1000,
    jwtExpirySeconds: config.auth?.jwt_expiry ?? 3600,
    functions: Object.fromEntries(functions),
  };
}

function port(name: string, value: string | number): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > 65535) {
    throw new Error(`${name} is ${JSON.stringify(value)}: not a port between 1 and 65535.`);
  }
  return number;
}
