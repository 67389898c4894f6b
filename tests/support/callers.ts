/** Everybody who may come along, through SQL and through HTTP, each about the same user. */
import { randomBytes, randomUUID } from "node:crypto";
import type pg from "pg";
import { startApi } from "local-platform/gateway/api";
import { createKeys } from "local-platform/gateway/keys";
import { createTokens } from "local-platform/gateway/tokens";
import { migrationUp } from "local-platform/project/supabase-cli";
import { createDatabase, type Database } from "./database.ts";
import { createUser } from "./roles.ts";
import { populateUser, type PopulatedUser } from "./populated-user.ts";

/** Every kind of caller. */
export const callers = [
  "anon",
  "self",
  "other",
  "nobody",
  "admin",
  "former admin",
  "server",
  "stranger",
] as const;
/**
 * - `anon`: without a token
 * - `self`: the user that the call is about
 * - `other`: another user
 * - `nobody`: a token without a subject
 * - `admin`: an admin by the token and on the list
 * - `former admin`: an admin by the token, and not on the list any more
 * - `server`: service_role
 * - `stranger`: a role of the database that was made today
 */
export type Caller = (typeof callers)[number];

/** What the API's roles may do by default with what is new: `legacy`, everything; `closed`, nothing. */
export type World = "legacy" | "closed";

/** A database with two users of whom every table knows something, and everybody who may come along. */
export interface CallerFixture {
  db: Database;
  world: World;
  /** The user whom every call is about. */
  user: PopulatedUser;
  /** `other`, whose books are as full. */
  other: PopulatedUser;
  claims: Record<Caller, Record<string, unknown> & { role: string }>;
  /** What somebody does, in a transaction that is rolled back. */
  as<T>(caller: Caller, work: (client: pg.ClientBase) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Makes one.
 *
 * @param change a known-bad variant, put in before anybody comes
 */
export async function createCallerFixture(
  world: World = "legacy",
  change: (db: Database) => Promise<unknown> = async () => {},
): Promise<CallerFixture> {
  const db = await createInstalled(world);
  await change(db);
  const user = await populateUser(db);
  const other = await populateUser(db);
  // rows that are nobody's: a price of each kind, a cap, and a rule for everyone
  await db.admin.query(`
    insert into public.token_packs (pack_type, name, tokens, price_cents, stripe_price_id) values ('pack', 'A pack', 10, 1, 'price_1');
    insert into public.token_model_prices (model, valid_from, input_cents_per_million, output_cents_per_million) values ('cast', '2026-01-01', 1, 2);
    insert into public.token_model_rates (model_pattern, tokens_per_input, tokens_per_output, tokens_per_image, tokens_per_second, markup_percent)
      values ('cast', 1, 1, 0, 0, 0);
    insert into public.token_action_costs (action_type, min_tokens, max_tokens) values ('cast_action', 1, 2);
    insert into public.token_grant_types (grant_type, lifetime_hours) values ('cast', 24)`);
  await db.admin.query("select public.set_token_spend_cap('month', 1000000000, p_plan_type => 'starter')");
  await db.admin.query("select public.set_token_alert_rule('empty', 'depleted', p_for_everyone => true)");
  const admin = await createUser(db, { admin: true });
  const former = await createUser(db, { admin: true });
  await db.admin.query("delete from tokenbook.admins where user_id = $1", [former]);
  const stranger = `stranger_${randomBytes(6).toString("hex")}`;
  await db.admin.query(
    `create role ${stranger} nologin; grant ${stranger} to authenticator, postgres with set true`,
  );

  const signedIn = (sub: string, more = {}) => ({
    sub,
    role: "authenticated",
    aud: "authenticated",
    ...more,
  });
  const asAdmin = { app_metadata: { provider: "email", role: "admin" } };
  const claims: CallerFixture["claims"] = {
    anon: { role: "anon" },
    self: signedIn(user.id),
    other: signedIn(other.id),
    nobody: { role: "authenticated", aud: "authenticated" },
    admin: signedIn(admin, asAdmin),
    "former admin": signedIn(former, asAdmin),
    server: { role: "service_role" },
    stranger: { role: stranger, sub: user.id },
  };
  return {
    db,
    world,
    user,
    other,
    claims,
    async as(caller, work) {
      const client = await db.api.connect();
      try {
        await client.query("begin");
        await client.query(
          "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
          [claims[caller].role, JSON.stringify(claims[caller])],
        );
        return await work(client);
      } finally {
        await client.query("rollback");
        client.release();
      }
    },
    async close() {
      await db.admin.query(`drop role ${stranger}`);
      await db.drop();
    },
  };
}

/** A database with Tokenbook in it, of a project of that world; new users get no plan. */
export async function createInstalled(world: World): Promise<Database> {
  if (world === "legacy") return await createDatabase();
  const db = await createDatabase({ template: "platform", defaultPrivileges: "none" });
  await migrationUp({ url: db.url() });
  await db.admin.query("update public.token_plans set is_default = false where is_default");
  return db;
}

/** What Postgres said to a statement: how many rows, or which error. */
export type Said = { rows: Record<string, unknown>[]; count: number | null } | Refusal;

/** An error of Postgres. */
export interface Refusal {
  code: string;
  message: string;
  detail?: string;
  hint?: string;
  /** The functions in which it was raised; nothing, where none had been entered. */
  where?: string;
}

/** Tries a statement and takes it back; the transaction goes on as if nothing had happened. */
export async function attempt(
  client: pg.ClientBase,
  sql: string,
  values: unknown[] = [],
  look: () => Promise<unknown> = async () => {},
): Promise<Said> {
  await client.query("savepoint attempt");
  try {
    const { rows, rowCount } = await client.query(sql, values);
    await look();
    return { rows, count: rowCount };
  } catch (error) {
    if ((error as Partial<Refusal>).code === undefined) throw error;
    return error as Refusal;
  } finally {
    await client.query("rollback to savepoint attempt");
  }
}

/** The API in front of a fixture's database. */
export interface Api {
  /** Sends a request below /rest/v1/ and reads the answer. */
  ask(
    caller: Caller,
    path: string,
    init?: RequestInit,
  ): Promise<{ status: number; headers: Headers; body: unknown }>;
  close(): Promise<void>;
}

/** Opens it, with a token for everybody who has one. */
export async function openApi({ db, claims }: CallerFixture): Promise<Api> {
  const keys = await createKeys();
  const { sign } = await createTokens(keys);
  const api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const headers = new Map<Caller, Record<string, string>>();
  for (const caller of callers) {
    if (caller === "anon") headers.set(caller, { apikey: keys.publishableKey });
    else if (caller === "server") headers.set(caller, { apikey: keys.secretKey });
    else {
      const token = await sign({ exp, session_id: randomUUID(), ...claims[caller] });
      headers.set(caller, { apikey: keys.publishableKey, authorization: `Bearer ${token}` });
    }
  }
  return {
    async ask(caller, path, init = {}) {
      const response = await fetch(`${api.url}/rest/v1/${path}`, {
        ...init,
        headers: { "content-type": "application/json", ...headers.get(caller), ...init.headers },
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        body: text === "" ? null : JSON.parse(text),
      };
    },
    close: () => api.close(),
  };
}

/** The work of several, a few at a time. */
export async function each<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>) {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}
