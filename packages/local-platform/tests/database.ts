import { inject } from "vitest";
import { createDatabase as copyOf } from "local-platform/testing/database";
import type { Database } from "local-platform/testing/database";

/**
 * Makes a database as a hosted project has it before its first migration.
 *
 * @param defaultPrivileges `legacy`: what is new in schema public is open to the API's roles.
 */
export async function createDatabase(defaultPrivileges: "legacy" | "none"): Promise<Database> {
  const template = defaultPrivileges === "legacy" ? "template_platform" : "template_platform_closed";
  return await copyOf(inject("postgresPort"), template);
}
