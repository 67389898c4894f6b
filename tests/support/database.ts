import { inject } from "vitest";
import { createDatabase as copyOf } from "local-platform/testing/database";
import type { Database } from "local-platform/testing/database";

export { openDatabase } from "local-platform/testing/database";
export type { Database } from "local-platform/testing/database";

/**
 * What a new database starts with. `tokenbook` (the default): every migration applied, to a project
 * with the legacy default privileges. `platform`: a hosted project without any migration; with
 * `defaultPrivileges: "none"` one of those made since 2026-05-30.
 */
export type DatabaseOptions =
  | { template?: "tokenbook" }
  | { template: "platform"; defaultPrivileges?: "legacy" | "none" };

/** Makes a database, as a copy of a template; takes about 0.1 s. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<Database> {
  return await copyOf(inject("postgresPort"), templateOf(options));
}

function templateOf(options: DatabaseOptions): string {
  if (options.template !== "platform") return "template_tokenbook";
  return options.defaultPrivileges === "none" ? "template_platform_closed" : "template_platform";
}
