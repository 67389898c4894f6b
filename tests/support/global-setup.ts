/*
 * One Postgres server for the whole run, with the platform's templates and template_tokenbook: a
 * hosted project with every migration, applied by the real Supabase CLI.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { migrationUp } from "local-platform/project/supabase-cli";
import { run } from "local-platform/testing/database";
import { digest, startTestServer, textsIn } from "local-platform/testing/server";
import { project, projectRoot } from "../../scripts/project.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Port of the test server on 127.0.0.1. */
    postgresPort: number;
  }
}

export default async function setup(vitest: TestProject): Promise<() => Promise<void>> {
  const supabase = join(projectRoot, "supabase");
  const server = await startTestServer({
    project,
    keepIn: join(projectRoot, "node_modules", ".cache", "tokenbook-templates"),
    templates: [
      {
        name: "template_tokenbook",
        from: "template_platform",
        madeOf: digest([
          textsIn(join(supabase, "migrations")),
          readFileSync(join(supabase, "config.toml"), "utf8"),
          nothingAtRegistration,
        ]),
        make: async (url) => {
          await migrationUp({ url });
          await run(url, nothingAtRegistration);
        },
      },
    ],
  });
  vitest.provide("postgresPort", server.port);
  return server.stop;
}

/**
 * New users of most tests begin with nothing, so that a test sees only what it did itself. A project
 * says so by having no default plan; tests of registration make one the default again.
 */
const nothingAtRegistration = "update public.token_plans set is_default = false where is_default";
