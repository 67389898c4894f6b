/*
 * Callers by name. Each function runs `fn` in one transaction on a connection as `authenticator`, with
 * the role and the claims set as PostgREST sets them for a request; committed when `fn` returns,
 * rolled back when it throws.
 */
import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { Database } from "./database.ts";

/** The claims of a token, as far as a test wants to say them. */
export type Claims = Record<string, unknown>;

/** What a test does as somebody. */
export type Work<T> = (client: pg.ClientBase) => Promise<T>;

/** As a caller without a token. */
export async function asAnon<T>(db: Database, fn: Work<T>): Promise<T> {
  return await asRole(db, { role: "anon" }, fn);
}

/** As a signed-in user: by id, or with these very claims for a token that is not as it should be. */
export async function asUser<T>(db: Database, user: string | Claims, fn: Work<T>): Promise<T> {
  return await asRole(db, typeof user === "string" ? userClaims(user) : user, fn);
}

/** As a signed-in user whose token says that they are an administrator (whether they still are or not). */
export async function asAdmin<T>(db: Database, adminId: string, fn: Work<T>): Promise<T> {
  const claims = userClaims(adminId);
  return await asRole(db, { ...claims, app_metadata: { ...emailUser, role: "admin" } }, fn);
}

/** As the server, with the secret key. */
export async function asService<T>(db: Database, fn: Work<T>): Promise<T> {
  return await asRole(db, { role: "service_role" }, fn);
}

/** Signs a user up behind the auth server's back, and returns the id. */
export async function createUser(
  db: Database,
  { email, admin = false }: { email?: string; admin?: boolean } = {},
): Promise<string> {
  const id = randomUUID();
  const metadata = admin ? { ...emailUser, role: "admin" } : emailUser;
  await db.admin.query(
    `insert into auth.users (id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
     values ($1, 'authenticated', 'authenticated', $2, now(), $3::text::jsonb, '{}')`,
    [id, email ?? `${id}@example.com`, JSON.stringify(metadata)],
  );
  if (admin) await db.admin.query("insert into tokenbook.admins (user_id) values ($1)", [id]);
  return id;
}

/**
 * Calls `public.<name>` the way PostgREST does: one JSON object of named arguments, converted to the
 * parameters' types by Postgres, parameters that are not named left to their defaults.
 *
 * @returns what the function returns, as JSON would carry it.
 * @throws when no function of that name has all of the arguments (PostgREST: PGRST202).
 */
// A test reads what it expects out of the answer; what is not there shows up as undefined.
// oxlint-disable-next-line typescript/no-explicit-any
export async function rpc(client: pg.ClientBase, name: string, args: Claims = {}): Promise<any> {
  const parameters = await parametersOf(client, name, Object.keys(args));
  const columns = parameters.map((p) => `"${p.name}" ${p.type}`).join(", ");
  const call = `public."${name}"(${parameters.map((p) => `"${p.name}" => a."${p.name}"`).join(", ")})`;
  const { rows } =
    parameters.length === 0
      ? await client.query(`select to_json(${call}) as value`)
      : await client.query(
          `select to_json(${call}) as value from json_to_record($1::text::json) as a (${columns})`,
          [JSON.stringify(args)],
        );
  return rows[0].value;
}

async function asRole<T>(db: Database, claims: Claims, fn: Work<T>): Promise<T> {
  const client = await db.api.connect();
  let broken = false;
  try {
    await client.query("begin");
    await client.query(
      `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
              set_config('statement_timeout', $3, true)`,
      [claims["role"], JSON.stringify(claims), statementTimeouts[String(claims["role"])] ?? "8s"],
    );
    const result = await fn(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => (broken = true));
    throw error;
  } finally {
    client.release(broken);
  }
}

/** PostgREST applies the settings of the role it becomes; the others keep authenticator's 8 s. */
const statementTimeouts: Record<string, string> = { anon: "3s" };

const emailUser = { provider: "email", providers: ["email"] };

function userClaims(userId: string): Claims {
  return {
    sub: userId,
    aud: "authenticated",
    role: "authenticated",
    aal: "aal1",
    session_id: randomUUID(),
    email: `${userId}@example.com`,
    app_metadata: emailUser,
    user_metadata: {},
    is_anonymous: false,
  };
}

interface Parameter {
  name: string;
  type: string;
}

async function parametersOf(client: pg.ClientBase, name: string, wanted: string[]): Promise<Parameter[]> {
  const { rows } = await client.query<{ parameters: Parameter[] }>(
    `select coalesce(json_agg(json_build_object('name', a.name, 'type', format_type(a.type, null))
                              order by a.position) filter (where a.name = any ($2)), '[]') as parameters
       from pg_catalog.pg_proc p
       left join lateral unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[])
                         with ordinality as a (name, type, position) on true
      where p.pronamespace = 'public'::regnamespace and p.proname = $1
      group by p.oid`,
    [name, wanted],
  );
  const fitting = rows.filter((row) => row.parameters.length === wanted.length);
  if (fitting.length !== 1) {
    throw new Error(
      `public.${name}(${wanted.join(", ")}): ${fitting.length} functions fit, of ${rows.length} of that name`,
    );
  }
  return fitting[0]!.parameters;
}
