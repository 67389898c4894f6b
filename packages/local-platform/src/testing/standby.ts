/*
 * A hot standby: a second server that repeats what is written to the first one's log, and answers
 * queries meanwhile. This is what a hosted project's read replica is.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { NativePostgres } from "../postgres/native.ts";
import { startPostgres, superuser } from "../postgres/server.ts";
import type { PostgresServer } from "../postgres/server.ts";

export interface StandbyOptions {
  /** The server to follow: where its data is, and how it is reached. It may be written to meanwhile. */
  primary: Pick<PostgresServer, "dataDir" | "url">;
  /** Where the copy goes. It must not exist; its parent must, and the primary's user must get to it. */
  dataDir: string;
  native?: NativePostgres;
  /**
   * Settings of the standby. `max_connections` must not be below the primary's: a standby refuses to
   * start with less.
   */
  settings?: Record<string, string | number>;
}

export interface Standby extends PostgresServer {
  /** Returns once everything that the primary had committed when this was called can be read here. */
  caughtUp(): Promise<void>;
}

/**
 * Copies a running server and starts the copy as its hot standby. The primary keeps, in a replication slot,
 * what the standby has not had yet.
 *
 * @throws Failure when the copy does not come up.
 */
export async function startStandby({ primary, dataDir, native, settings }: StandbyOptions): Promise<Standby> {
  const client = new pg.Client({ connectionString: primary.url("postgres", superuser) });
  await client.connect();
  try {
    // First the slot: from here on the primary keeps what the copy will need.
    await client.query("select pg_create_physical_replication_slot('standby', true)");
    await copyServer(client, primary.dataDir, dataDir);
  } finally {
    await client.end();
  }

  const signal = join(dataDir, "standby.signal");
  writeFileSync(signal, "");
  giveTo(signal, lstatSync(primary.dataDir));
  const server = await startPostgres({
    dataDir,
    port: 0,
    ...(native && { native }),
    settings: {
      hot_standby: "on",
      primary_slot_name: "standby",
      primary_conninfo: primary.url("postgres", superuser),
      ...settings,
    },
  });
  return {
    ...server,
    caughtUp: () => caughtUp(primary, server),
  };
}

/**
 * Copies the data of a running server: a base backup. A server that starts from it has what was committed when this
 * ends, if it gets the log: from the running one, or with the copy.
 *
 * @param client of the running server, as its superuser
 * @param withLog copies the log as well, as far as it is kept
 */
export async function copyServer(
  client: pg.Client,
  from: string,
  to: string,
  { withLog = false } = {},
): Promise<void> {
  try {
    await client.query("select pg_backup_start('a copy', true)");
    copyData(from, to);
    const { rows } = await client.query<{ labelfile: string }>("select labelfile from pg_backup_stop(false)");
    writeFileSync(join(to, "backup_label"), rows[0]!.labelfile);
    if (withLog) cpSync(join(from, "pg_wal"), join(to, "pg_wal"), { recursive: true });
    giveTo(to, lstatSync(from));
  } catch (error) {
    rmSync(to, { recursive: true, force: true });
    throw error;
  }
}

async function caughtUp(primary: StandbyOptions["primary"], standby: PostgresServer): Promise<void> {
  const [there, here] = [primary, standby].map(
    (server) => new pg.Client({ connectionString: server.url("postgres", superuser) }),
  );
  await Promise.all([there!.connect(), here!.connect()]);
  try {
    const { rows } = await there!.query<{ written: string }>("select pg_current_wal_lsn() as written");
    const deadline = Date.now() + 30_000;
    for (;;) {
      const { rows: reached } = await here!.query<{ is: boolean }>(
        "select pg_last_wal_replay_lsn() >= $1 as is",
        [rows[0]!.written],
      );
      if (reached[0]!.is) return;
      if (Date.now() > deadline) throw new Error("The standby did not catch up within half a minute.");
      await sleep(5);
    }
  } finally {
    await Promise.all([there!.end(), here!.end()]);
  }
}

/** What belongs to one server alone, or is of no use to another. */
const leftOut =
  /^(postmaster\.(pid|opts)|(pg_wal|pg_replslot|pg_stat_tmp|pg_dynshmem|pg_notify|pg_subtrans)\/.+)$/;

function copyData(from: string, to: string, below = ""): void {
  mkdirSync(join(to, below), { mode: 0o700 });
  for (const entry of readdirSync(join(from, below), { withFileTypes: true })) {
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    if (leftOut.test(name)) continue;
    if (entry.isDirectory()) copyData(from, to, name);
    else {
      try {
        copyFileSync(join(from, name), join(to, name));
      } catch (error) {
        // Tables go while this runs; the log says so to the copy as well.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
  }
}

/** Postgres refuses a folder of another user's, or one that others can read. */
function giveTo(path: string, { uid, gid }: { uid: number; gid: number }): void {
  if (process.getuid?.() === 0) chownSync(path, uid, gid);
  if (!lstatSync(path).isDirectory()) return;
  chmodSync(path, 0o700);
  for (const name of readdirSync(path)) giveTo(join(path, name), { uid, gid });
}
