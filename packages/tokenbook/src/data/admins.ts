import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** An administrator, or somebody who is one by halves. */
export interface Admin {
  userId: string;
  /** Null for a user who is gone from auth.users, or who has no address. */
  email: string | null;
  /** Null when there is no row in tokenbook.admins. */
  addedAt: Date | null;
  addedBy: string | null;
  /** Whether `app_metadata.role` says admin too; only with both is he one. */
  hasRole: boolean;
}

/** The user who is meant can't be told: nobody has the address, or several have. */
export class UserNotFound extends Error {
  override name = "UserNotFound";
}

/**
 * Makes a user an administrator: `app_metadata.role` for his next token, and the row in
 * tokenbook.admins, in one transaction. Again for the same user changes nothing.
 *
 * @param email compared without regard to case.
 * @param addedBy who did it, for the record.
 * @returns the user's id, and whether anything changed.
 * @throws UserNotFound
 */
export async function addAdmin(
  client: SqlClient,
  email: string,
  addedBy: string,
): Promise<{ userId: string; changed: boolean }> {
  return await inTransaction(client, async () => {
    const user = await findUser(client, email);
    const rows = await select(client, "select user_id from tokenbook.admins where user_id = $1", [user.id]);
    const hadRow = rows.length > 0;
    if (!hadRow) {
      await client.query("insert into tokenbook.admins (user_id, added_by) values ($1, $2)", [
        user.id,
        addedBy,
      ]);
    }
    const hadRole = user.appMetadata["role"] === "admin";
    if (!hadRole) await writeMetadata(client, user.id, { ...user.appMetadata, role: "admin" });
    return { userId: user.id, changed: !hadRow || !hadRole };
  });
}

/**
 * Takes the right away, both halves of it, in one transaction. Calls with a token that still says
 * admin are refused from the commit on.
 *
 * @returns the user's id, and whether he had been one.
 * @throws UserNotFound
 */
export async function removeAdmin(
  client: SqlClient,
  email: string,
): Promise<{ userId: string; changed: boolean }> {
  return await inTransaction(client, async () => {
    const user = await findUser(client, email);
    const rows = await select(client, "delete from tokenbook.admins where user_id = $1 returning user_id", [
      user.id,
    ]);
    const { role, ...otherMetadata } = user.appMetadata;
    const hadRole = role === "admin";
    // Another role is the app's own business.
    if (hadRole) await writeMetadata(client, user.id, otherMetadata);
    return { userId: user.id, changed: rows.length > 0 || hadRole };
  });
}

/** Everybody who has one half of the right or both, by address. */
export async function listAdmins(client: SqlClient): Promise<Admin[]> {
  const rows = await select<{
    user_id: string;
    email: string | null;
    added_at: Date | null;
    added_by: string | null;
    role: string | null;
  }>(
    client,
    `select a.user_id, u.email, a.added_at, a.added_by, u.raw_app_meta_data ->> 'role' as role
       from tokenbook.admins a
       left join auth.users u on u.id = a.user_id
      union all
     select u.id, u.email, null, null, u.raw_app_meta_data ->> 'role'
       from auth.users u
      where u.raw_app_meta_data ->> 'role' = 'admin'
        and u.id not in (select user_id from tokenbook.admins)`,
  );
  return rows
    .map((row) => ({
      userId: row.user_id,
      email: row.email,
      addedAt: row.added_at,
      addedBy: row.added_by,
      hasRole: row.role === "admin",
    }))
    .toSorted((a, b) => (a.email ?? "").localeCompare(b.email ?? ""));
}

interface User {
  id: string;
  appMetadata: Record<string, unknown>;
}

/**
 * Locks the row: the auth server, or another who adds the same admin, may write at the same time, and one
 * of the two would be lost.
 */
async function findUser(client: SqlClient, email: string): Promise<User> {
  const rows = await select<{ id: string; raw_app_meta_data: Record<string, unknown> | null }>(
    client,
    "select id, raw_app_meta_data from auth.users where lower(email) = lower($1) for update",
    [email],
  );
  const [user, ...others] = rows;
  if (user === undefined) throw new UserNotFound(`Nobody has signed up with the address ${email}.`);
  if (others.length > 0) {
    const ids = rows.map((row) => row.id).join(", ");
    throw new UserNotFound(`${rows.length} users have the address ${email}: ${ids}.`);
  }
  return { id: user.id, appMetadata: user.raw_app_meta_data ?? {} };
}

async function writeMetadata(
  client: SqlClient,
  userId: string,
  metadata: Record<string, unknown>,
): Promise<void> {
  await client.query(
    "update auth.users set raw_app_meta_data = $2::text::jsonb, updated_at = now() where id = $1",
    [userId, JSON.stringify(metadata)],
  );
}
