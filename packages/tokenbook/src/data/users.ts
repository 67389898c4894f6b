import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** The user who is meant can't be told: nobody has the address, or several have. */
export class UserNotFound extends Error {
  override name = "UserNotFound";
}

/** Whether that text is a user's id, as Postgres writes it. */
export function isUserId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/**
 * The user who is meant by an id or an address, also one of whom only the books still know.
 *
 * @param idOrEmail an address is compared without regard to case.
 * @throws UserNotFound when nobody is meant, or several are.
 */
export async function findUserId(client: SqlClient, idOrEmail: string): Promise<string> {
  if (isUserId(idOrEmail)) {
    const [user] = await select<{ id: string }>(
      client,
      `select u.id from auth.users u where u.id = $1
        union select a.user_id from public.token_accounts a where a.user_id = $1
        union select t.user_id from public.token_transactions t where t.user_id = $1
        union select b.user_id from public.token_balances b where b.user_id = $1`,
      [idOrEmail],
    );
    if (user === undefined) throw new UserNotFound(`There is no user ${idOrEmail}.`);
    return user.id;
  }
  const users = await select<{ id: string }>(
    client,
    "select id from auth.users where lower(email) = lower($1)",
    [idOrEmail],
  );
  const [user, ...others] = users;
  if (user === undefined) throw new UserNotFound(`Nobody has signed up with the address ${idOrEmail}.`);
  if (others.length > 0) {
    const ids = users.map(({ id }) => id).join(", ");
    throw new UserNotFound(`${users.length} users have the address ${idOrEmail}: ${ids}.`);
  }
  return user.id;
}
