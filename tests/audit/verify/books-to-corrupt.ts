/** Books with everything in them that books can have, and no constraint left to keep them right. */
import type pg from "pg";
import { archiveUse } from "../../support/archived-usage.ts";
import { createUser } from "../../support/roles.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { type Corruption, fields, qualified } from "./fields.ts";
import { createUserOfBefore, createUserToRestate, live, livesOfTheirOwn } from "./lives.ts";
import { ownersOf } from "./whose.ts";

/** Makes them: four users of before the books and eight of since; takes five seconds. */
export async function booksToCorrupt({
  constraints = "dropped",
}: { constraints?: "in force" | "dropped" } = {}): Promise<{
  db: Database;
  users: string[];
}> {
  const db = await createDatabase();
  await db.admin.query(
    `insert into public.token_model_prices (model, input_cents_per_million, output_cents_per_million) values ('small', 15, 60)`,
  );
  const admin = await createUser(db, { admin: true });
  const ofBefore = await Promise.all(Array.from({ length: 4 }, () => createUserOfBefore(db)));
  const old = await createUserToRestate(db);
  await giveFreePlanAtRegistration(db);
  const users = [...ofBefore, ...(await Promise.all(Array.from({ length: 8 }, () => createUser(db))))];
  await Promise.all(users.map((user, n) => live(db, user, admin, n)));
  for (const user of users) await archiveUse(db, user, "archived"); // no time passes afterwards
  users.push(old, ...(await livesOfTheirOwn(db, admin, old)));

  await db.admin.query("alter table public.token_transactions disable trigger user");
  if (constraints === "dropped") await dropConstraints(db);
  return { db, users };
}

/** Leaves nothing that keeps the books right but the functions. */
export async function dropConstraints(db: Database): Promise<void> {
  // a fault of the functions, of a person or of a disk asks no constraint
  const tables = Object.keys(fields).map(qualified);
  const { rows } = await db.admin.query<{ statement: string }>(
    `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as statement
       from pg_constraint where contype = 'c' and conrelid = any ($1::regclass[])
     union all
     select format('drop trigger %I on %s', tgname, tgrelid::regclass)
       from pg_trigger where tgname like '%are_sound' and tgrelid = any ($1::regclass[])
     union all
     select format('alter table %s alter %I drop not null', attrelid::regclass, attname)
       from pg_attribute
      where attrelid = any ($1::regclass[]) and attnum > 0 and attnotnull
        and not exists (select from pg_constraint where contype = 'p' and conrelid = attrelid and attnum = any (conkey))
     union all
     select format('drop index %I.%I', schemaname, indexname) from pg_indexes
      where format('%I.%I', schemaname, tablename)::regclass = any ($1::regclass[])
        and indexdef like 'CREATE UNIQUE%' and indexname not like '%pkey'`,
    [tables],
  );
  for (const { statement } of rows) await db.admin.query(statement);
}

/** One row of the answer. */
export interface Breach {
  invariant: string;
  /** null: the project. */
  user_id: string | null;
}

/** What the verifier finds, in everyone's books or in one's. */
export const verify = async (client: pg.ClientBase, user?: string) =>
  (await client.query<Breach>("select * from public.verify_token_ledger($1)", [user ?? null])).rows;

/** What comparing sums sees: the known-bad verifier. */
export const sumsDiffer = async (client: pg.ClientBase) =>
  (
    await client.query(
      `select from public.token_accounts a
        where a.tokens_remaining <> (select coalesce(sum(b.tokens_remaining), 0) from public.token_balances b where b.user_id = a.user_id)
           or a.tokens_remaining + a.tokens_reserved <> (select coalesce(sum(t.tokens), 0) from public.token_transactions t where t.user_id = a.user_id)`,
    )
  ).rowCount! > 0;

/** A field of a row made wrong. */
export interface Injection {
  what: string;
  table: string;
  column: string;
  way: Corruption;
  /** The row: where it is, and whose; the first is the one that it is most of all. */
  at: string;
  owners: string[];
  /** A small number, in `way` named `$2`. */
  n: number;
}

/**
 * Every way in which a field can go wrong, each in some rows.
 *
 * @param rowsEach in how many rows at most
 * @returns also the ways for which there is no row: there should be none
 */
export async function injectionsFor(
  db: Database,
  rowsEach: number,
): Promise<{ injections: Injection[]; nowhere: string[] }> {
  const nowhere: string[] = [];
  const injections: Injection[] = [];
  for (const [table, columns] of Object.entries(fields)) {
    for (const [column, { found }] of Object.entries(columns)) {
      for (const way of found) {
        const what = `${table}.${column} to ${way.to}`;
        const sites = await db.admin.query<{ at: string; owners: string[] }>(
          `select x.ctid::text as at, ${ownersOf(table)} as owners from ${qualified(table)} x
            where (${way.where ?? "true"}) and x.${column} is distinct from (${way.to.replaceAll("$2", "1")}) -- or nothing goes wrong
            order by md5(x::text) limit ${rowsEach}`,
        );
        if (sites.rows.length === 0) nowhere.push(what);
        injections.push(...sites.rows.map((site, i) => ({ what, table, column, way, ...site, n: i + 1 })));
      }
    }
  }
  return { injections, nowhere };
}

/** Makes the field wrong in a transaction that is rolled back: others never see it. Looks at it meanwhile, knowing whose it is then. */
export async function inject<T>(
  client: pg.ClientBase,
  { table, column, way, at, n }: Injection,
  look: (owners: string[]) => Promise<T>,
): Promise<T> {
  await client.query("begin");
  try {
    const changed = await client.query<{ owners: string[] }>(
      `with n as (select $2::integer as n)
       update ${qualified(table)} x set ${column} = ${way.to.replaceAll("$2", "n.n")} from n
        where x.ctid = $1::tid returning ${ownersOf(table)} as owners`,
      [at, n],
    );
    return await look(changed.rows[0]!.owners);
  } finally {
    await client.query("rollback");
  }
}
