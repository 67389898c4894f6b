import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../terminal/failure.ts";
import { canEnter, canRun, copyNative, nativePostgres, postgresUser } from "../postgres/native.ts";
import type { NativePostgres } from "../postgres/native.ts";
import { stateDirOf, variableOf } from "./project.ts";
import type { Project } from "./project.ts";

/** Where a project's local platform keeps what it keeps. */
export interface Place {
  /** `.<name>` in the project: keys and logs. */
  stateDir: string;
  logsDir: string;
  /** Postgres' data folder. */
  dataDir: string;
  /** Postgres' programs. */
  native: NativePostgres;
}

/**
 * Chooses the place: `.<name>` in the project, wherever the user who runs Postgres can reach it.
 *
 * Run by root, Postgres is another user (see {@link postgresUser}), and that one can't get below a
 * closed folder such as /root. Then data and a copy of Postgres live in /var/tmp/<name>-<hash of
 * the project's path>, which survives a restart of the machine as data should.
 */
export function choosePlace(project: Project): Place {
  const stateDir = stateDirOf(project);
  const logsDir = join(stateDir, "logs");
  try {
    mkdirSync(logsDir, { recursive: true });
  } catch (error) {
    throw new Failure(`${stateDir} can't be written: ${(error as Error).message}`);
  }
  const dataDir = join(stateDir, "data");
  const native = nativePostgres(variableOf(project, "POSTGRES"));
  const user = postgresUser(dataDir);
  if (user === undefined || (canRun(native, user) && canEnter(stateDir, user))) {
    return { stateDir, logsDir, dataDir, native };
  }
  const elsewhere = placeOutside(project);
  return {
    stateDir,
    logsDir,
    dataDir: join(elsewhere, "data"),
    native: copyNative(native, elsewhere),
  };
}

function placeOutside({ root, name }: Project): string {
  const hash = createHash("sha256").update(realpathSync(root)).digest("hex").slice(0, 12);
  const directory = join("/var/tmp", `${name}-${hash}`);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  // Anyone can write in /var/tmp: root must not run programs out of a folder that another made.
  const { uid, mode } = lstatSync(directory);
  if (uid !== process.getuid?.() || (mode & 0o170022) !== 0o040000) {
    throw new Failure(`${directory} belongs to somebody else: remove it and start again.`);
  }
  return directory;
}
