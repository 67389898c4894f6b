/** A project with a read replica: a server with every migration in it, and a hot standby that follows it. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareDatabase } from "local-platform/postgres/prepare";
import { startPostgres } from "local-platform/postgres/server";
import { choosePlace } from "local-platform/project/place";
import { startStandby } from "local-platform/testing/standby";
import { project } from "../../scripts/project.ts";
import { type Database, openDatabase } from "./database.ts";
import { migrate } from "./migrate.ts";

export interface Replicated {
  /** Of the primary: written and read. */
  primary: Database;
  /** Of the standby: the same users and roles, and nothing can be written. */
  standby: Database;
  /** Returns once the standby has everything that the primary had when this was called. */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
}

/** Starts both, with nobody in the books; new users get no plan. Takes about three seconds. */
export async function startReplicated(
  settings: { standby?: Record<string, string | number> } = {},
): Promise<Replicated> {
  const directory = mkdtempSync(join(tmpdir(), "tokenbook-replicated-"));
  // Run by root, Postgres is another user and must get to its data.
  chmodSync(directory, 0o755);
  const { native } = choosePlace(project);
  // Nothing is killed here, so nothing has to reach the disk; a commit is in the log, for the standby to have.
  const common = { fsync: "off", max_connections: 100 };
  const dataOf = (which: string) => join(directory, which);
  const server = await startPostgres({
    dataDir: dataOf("primary"),
    port: 0,
    native,
    settings: common,
  });
  await prepareDatabase(server);
  const primary = openDatabase(
    "postgres",
    (role) => server.url("postgres", role),
    () => server.stop(),
  );
  await migrate(primary);
  await primary.admin.query("update public.token_plans set is_default = false where is_default");

  const follower = await startStandby({
    primary: server,
    dataDir: dataOf("standby"),
    native,
    settings: { ...common, ...settings.standby },
  });
  const standby = openDatabase(
    "postgres",
    (role) => follower.url("postgres", role),
    () => follower.stop(),
  );
  return {
    primary,
    standby,
    caughtUp: () => follower.caughtUp(),
    async close() {
      await standby.drop();
      await primary.drop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
