/*
 * One Postgres server for a run of the platform's own tests. A project that tests itself on the same
 * server provides the same port in its own set-up, and needs this one no more.
 */
import type { TestProject } from "vitest/node";
import { startTestServer } from "local-platform/testing/server";
import { keptTemplates, project } from "./project.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Port of the test server on 127.0.0.1. */
    postgresPort: number;
  }
}

export default async function setup(vitest: TestProject): Promise<() => Promise<void>> {
  const server = await startTestServer({ project, keepIn: keptTemplates });
  vitest.provide("postgresPort", server.port);
  return server.stop;
}
