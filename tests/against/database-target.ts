/**
 * The databases that the trials of the ledger run against: with AGAINST="postgres://…", that one (`npm run
 * test:against` sets it), and without it two of our own, the second with what distribute.sql changes of the functions.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../../scripts/project.ts";
import { createDatabase, type Database, openDatabase } from "../support/database.ts";

export interface TargetDatabase extends Database {
  /** Whether it is somebody else's. */
  isForeign: boolean;
  /** Whether it is a Citus coordinator. */
  isDistributed: boolean;
}

/** Whether a text is the address of a database, and not of an API. */
export const isDatabaseUrl = (text: string): boolean => /^postgres(ql)?:\/\//.test(text);

/** The database that AGAINST names, if it names one. */
export function namedDatabase(): string | undefined {
  const named = process.env["AGAINST"]?.trim() ?? "";
  return isDatabaseUrl(named) ? named : undefined;
}

/** What distribute.sql changes of the functions: it works without Citus, too. */
export async function applyLayer(db: Database): Promise<void> {
  await db.admin.query(await readFile(join(projectRoot, "supabase", "distributed", "layer.sql"), "utf8"));
}

/** Opens each of them. */
export const openTargets: readonly { what: string; open: () => Promise<TargetDatabase> }[] =
  namedDatabase() !== undefined
    ? [{ what: "the database that was named", open: openNamed }]
    : [
        { what: "a database of our own", open: openOwn },
        {
          what: "a database of our own, with the layer",
          open: async () => {
            const db = await openOwn();
            await applyLayer(db);
            return db;
          },
        },
      ];

async function openOwn(): Promise<TargetDatabase> {
  return { ...(await createDatabase()), isForeign: false, isDistributed: false };
}

/** The owner may become each of the other roles: nobody has to log in as `authenticator`. */
async function openNamed(): Promise<TargetDatabase> {
  const url = namedDatabase()!;
  const db = openDatabase(
    decodeURIComponent(new URL(url).pathname.slice(1)),
    () => url,
    async () => {},
  );
  const { rows } = await db.admin.query("select 1 from pg_extension where extname = 'citus'");
  return { ...db, isForeign: true, isDistributed: rows.length > 0 };
}
