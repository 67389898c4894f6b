// @module-tag proof
import type { ClientBase } from "pg";
import { startApi } from "local-platform/gateway/api";
import { createKeys } from "local-platform/gateway/keys";
import { breaches } from "../../support/books.ts";
import { asAdmin, asService, createUser, rpc } from "../../support/roles.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { connectAsOwner } from "../../support/storm.ts";
import { isKnownEverywhere, populateUser, type PopulatedUser } from "../../support/populated-user.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P22",
  promise: "Money outlives the user: deleting a user takes no row of the books with it",
  trial:
    "Users of whom every table knows something are deleted, by the owner of the database, by the auth server's role and through its API: every row of theirs is as it was, the books balance, and the server and admins can still read them",
  run: (scale) => tryIt(null, scale === "long" ? 150 : 9),
  control: {
    variant: "grants, accounts and payments cascade from auth.users",
    run: () => tryIt("books-cascade-from-users", 3),
  },
});

async function tryIt(mutant: string | null, users: number): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const keys = await createKeys();
  const api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
  const authServer = await connectAsOwner(db, "supabase_auth_admin");
  const ways: Record<string, (id: string) => Promise<unknown>> = {
    "by the owner": (id) => db.admin.query("delete from auth.users where id = $1", [id]),
    "by the auth server": (id) => authServer.query("delete from auth.users where id = $1", [id]),
    "through the API": async (id) => {
      const { status } = await fetch(`${api.url}/auth/v1/admin/users/${id}`, {
        method: "DELETE",
        headers: { apikey: keys.secretKey, authorization: `Bearer ${keys.secretKey}` },
      });
      if (status !== 200) throw new Error(`DELETE answers ${status}`);
    },
  };
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    const admin = await createUser(db, { admin: true });
    const tables = await tablesOf(db);
    const gone: { life: PopulatedUser; rows: Map<string, string[]>; how: string }[] = [];
    for (let nth = 0; nth < users; nth++) {
      const life = await populateUser(db, `gone-${nth}`);
      await isKnownEverywhere(db, life);
      const rows = await rowsOf(db, tables, life.id);
      for (const [table, found] of rows)
        if (found.length === 0) wrong.push(`proves nothing of ${table}: it has no row`);
      const how = Object.keys(ways)[nth % 3]!;
      await ways[how]!(life.id);
      mix[`deleted ${how}`] = (mix[`deleted ${how}`] ?? 0) + 1;
      gone.push({ life, rows, how });
    }

    let times = 0;
    const { rows: left } = await db.admin.query(
      "select count(*)::int as users from auth.users where email like 'gone-%'",
    );
    if (left[0].users > 0) wrong.push(`${left[0].users} were not deleted`);
    for (const { life, rows, how } of gone) {
      const now = await rowsOf(db, tables, life.id);
      for (const [table, before] of rows) {
        times += before.length;
        const there = new Set(now.get(table));
        const lost = before.filter((row) => !there.has(row)).length;
        if (lost > 0)
          wrong.push(`deleted ${how}: ${lost} of ${before.length} rows of ${table} lost or changed`);
      }
      const read = (client: ClientBase) => rpc(client, "get_token_history", { p_user_id: life.id });
      // what was before the books is at their end
      const entries = [
        ...rows.get("public.token_transactions")!,
        ...rows.get("public.token_legacy_transactions")!,
      ].length;
      for (const ask of [() => asService(db, read), () => asAdmin(db, admin, read)]) {
        const seen = await ask().then(
          ({ transactions }) => transactions.length as number,
          (error: Error) => error.message,
        );
        if (seen !== entries) wrong.push(`the history shows ${seen} of ${entries} entries`);
      }
    }
    mix["tables with rows of theirs"] = tables.length;
    if (mutant === null) {
      wrong.push(...(await breaches(db)));
      const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
      wrong.push(...rows.map((row) => JSON.stringify(row)));
    }
    return {
      times,
      unit: "rows of the books of deleted users",
      mix,
      violations: wrong.length,
      examples: wrong,
    };
  } finally {
    await api.close();
    await authServer.end();
    await db.drop();
  }
}

/** The tables that hold rows of users; the app's own is not the books'. */
async function tablesOf(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query(`
    select n.nspname || '.' || c.relname as name from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id'
     where n.nspname in ('public', 'tokenbook') and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'user_profiles'
       and c.relname not in (${elsewhere.map((name) => `'${name}'`).join(", ")})
     order by 1`);
  return rows.map(({ name }) => name as string);
}

/** Not of users' books: who administrates, and what migrations and faults have left. */
const elsewhere = [
  "admins",
  "archived_profile_counters",
  "cleared_token_balances",
  "failed_registrations",
  "set_aside_accounts",
];

async function rowsOf(db: Database, tables: readonly string[], user: string): Promise<Map<string, string[]>> {
  const rows = new Map<string, string[]>();
  for (const table of tables) {
    const found = await db.admin.query(`select to_jsonb(t)::text as row from ${table} t where user_id = $1`, [
      user,
    ]);
    rows.set(
      table,
      found.rows.map(({ row }) => row as string),
    );
  }
  return rows;
}
