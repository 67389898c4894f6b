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
import type { TestServer } from "local-platform/testing/server";
import { project, projectRoot } from "../../scripts/project.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Port of the test server on 127.0.0.1. */
    postgresPort: number;
  }
}

/** Each project of a run asks for the server; they share one. */
const shared = globalThis as { testServer?: Promise<TestServer>; users?: number };

export default async function setup(vitest: TestProject): Promise<() => Promise<void>> {
  shared.testServer ??= startServer();
  shared.users = (shared.users ?? 0) + 1;
  const { port, stop } = await shared.testServer;
  vitest.provide("postgresPort", port);
  return async () => {
    shared.users! -= 1;
    if (shared.users === 0) await stop();
  };
}

async function startServer(): Promise<TestServer> {
  const supabase = join(projectRoot, "supabase");
  return await startTestServer({
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
}

/**
 * New users of most tests begin with nothing, so that a test sees only what it did itself. A project
 * says so by having no default plan; tests of registration make one the default again.
 */
const nothingAtRegistration = "update public.token_plans set is_default = false where is_default";
