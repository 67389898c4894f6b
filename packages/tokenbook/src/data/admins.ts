import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";
import { isUserId, UserNotFound } from "./users.ts";

/** An administrator, or somebody who was one until the app took the role away. */
export interface Admin {
  userId: string;
  /** Null for a user who is gone from auth.users, or who has no address. */
  email: string | null;
  addedAt: Date;
  addedBy: string;
  /** Whether `app_metadata.role` says admin too; only with both are they one. */
  hasRole: boolean;
}

/** The app gave them another role, which this right would replace. */
export class HasOtherRole extends Error {
  override name = "HasOtherRole";
}

/**
 * Makes a user an administrator: `app_metadata.role` for their next token, and the row in tokenbook.admins, in one
 * transaction. The row remembers what the role was. Again for the same user changes nothing.
 *
 * @param email compared without regard to case.
 * @param addedBy who did it, for the record.
 * @param mayReplace whether a role of the app's own may be replaced.
 * @returns the user's id, whether anything changed, and whether the role was set.
 * @throws UserNotFound, HasOtherRole
 */
export async function addAdmin(
  client: SqlClient,
  email: string,
  addedBy: string,
  { mayReplace = false } = {},
): Promise<{ userId: string; changed: boolean; roleSet: boolean }> {
  return await inTransaction(client, async () => {
    const user = await findUser(client, email);
    refuseOtherRole(email, user, mayReplace);
    const hasRole = user.appMetadata["role"] === "admin";
    const rows = await select(client, "select user_id from tokenbook.admins where user_id = $1", [user.id]);
    const hadRow = rows.length > 0;
    if (!hadRow) {
      await client.query("insert into tokenbook.admins (user_id, added_by) values ($1, $2)", [
        user.id,
        addedBy,
      ]);
    }
    if (!hasRole) {
      const { role } = user.appMetadata;
      await client.query("update tokenbook.admins set replaced_role = $2::text::jsonb where user_id = $1", [
        user.id,
        JSON.stringify(role === undefined ? {} : { role }),
      ]);
      await writeMetadata(client, user.id, { ...user.appMetadata, role: "admin" });
    }
    return { userId: user.id, changed: !hadRow || !hasRole, roleSet: !hasRole };
  });
}

/**
 * Whether {@link addAdmin} would do it. Changes nothing.
 *
 * @throws UserNotFound, HasOtherRole
 */
export async function lookAtFutureAdmin(
  client: SqlClient,
  email: string,
  { mayReplace = false } = {},
): Promise<void> {
  refuseOtherRole(email, await findUser(client, email), mayReplace);
}

function refuseOtherRole(email: string, { appMetadata: { role } }: User, mayReplace: boolean): void {
  if (role === undefined || role === null || role === "admin" || mayReplace) return;
  throw new HasOtherRole(`${email} has app_metadata.role ${JSON.stringify(role)}, which is your app's.`);
}

/**
 * Takes the right away, in one transaction, and puts back what the role was; a role that was not set here stays.
 * Calls with a token that still says admin are refused from the commit on.
 *
 * @param idOrEmail also of somebody who is gone from auth.users.
 * @returns the user's id, whether they had been one, and what `app_metadata.role` is now.
 * @throws UserNotFound
 */
export async function removeAdmin(
  client: SqlClient,
  idOrEmail: string,
): Promise<{ userId: string; changed: boolean; role: unknown }> {
  return await inTransaction(client, async () => {
    const user = await (isUserId(idOrEmail) ? findById : findUser)(client, idOrEmail);
    const [row] = await select<{ replaced_role: Record<string, unknown> | null }>(
      client,
      "delete from tokenbook.admins where user_id = $1 returning replaced_role",
      [user.id],
    );
    const { role, ...others } = user.appMetadata;
    const replaced = row?.replaced_role ?? null;
    // another role than admin was given since, and is the app's own business
    if (replaced === null || role !== "admin") return { userId: user.id, changed: row !== undefined, role };
    await writeMetadata(client, user.id, { ...others, ...replaced });
    return { userId: user.id, changed: true, role: replaced["role"] };
  });
}

/** Everybody who was made one, by address. A role admin that the app gave is none of ours. */
export async function listAdmins(client: SqlClient): Promise<Admin[]> {
  const rows = await select<{
    user_id: string;
    email: string | null;
    added_at: Date;
    added_by: string;
    role: string | null;
  }>(
    client,
    `select a.user_id, u.email, a.added_at, a.added_by, u.raw_app_meta_data ->> 'role' as role
       from tokenbook.admins a
       left join auth.users u on u.id = a.user_id`,
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

/** Also somebody whom only the list of administrators still knows. */
async function findById(client: SqlClient, id: string): Promise<User> {
  const [user] = await select<{ raw_app_meta_data: Record<string, unknown> | null }>(
    client,
    "select raw_app_meta_data from auth.users where id = $1 for update",
    [id],
  );
  return { id, appMetadata: user?.raw_app_meta_data ?? {} };
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
