import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** What a replay found of one user; tokens. What has run out counts nowhere. */
export interface Replayed {
  userId: string;
  /** Null for a user who is gone from auth.users, or who has no address. */
  email: string | null;
  /** What the user's grants would have. */
  exact: number;
  /** What they have. */
  stored: number;
  /** Over all grants that have too much, and all that have too little. */
  overGranted: number;
  underGranted: number;
  /** Past use that found no grant to pay it. */
  uncovered: number;
}

/** One grant of a replay; NULL dates as in the database. */
export interface ReplayedGrant {
  grantId: string;
  grantType: string;
  grantedAt: Date;
  expiresAt: Date | null;
  granted: number;
  exact: number;
  stored: number;
  difference: number;
}

/** What was booked for one user. */
export interface Restated {
  userId: string;
  taken: number;
  given: number;
  transactionIds: number[];
}

/** Users for whom exact and stored differ, or whose past use was not covered, in one snapshot: of `range`'s users. */
export async function replayUsers(
  client: SqlClient,
  range: { userId?: string; after?: string | null; until?: string | null },
): Promise<Replayed[]> {
  const rows = await select<Record<string, string | null>>(
    client,
    `select user_id, max(u.email) as email, sum(exact) as exact, sum(stored) as stored,
            coalesce(sum(difference) filter (where difference > 0), 0) as over_granted,
            coalesce(-sum(difference) filter (where difference < 0), 0) as under_granted,
            sum(uncovered) as uncovered
       from public.replay_token_balances($1, $2, $3)
       left join auth.users u on u.id = user_id
      group by user_id
     having bool_or(difference <> 0) or sum(uncovered) > 0`,
    [range.userId ?? null, range.after ?? null, range.until ?? null],
  );
  return rows.map((row) => ({
    userId: row["user_id"]!,
    email: row["email"] ?? null,
    exact: Number(row["exact"]),
    stored: Number(row["stored"]),
    overGranted: Number(row["over_granted"]),
    underGranted: Number(row["under_granted"]),
    uncovered: Number(row["uncovered"]),
  }));
}

/** One user's grants that count, oldest first. */
export async function replayGrants(client: SqlClient, userId: string): Promise<ReplayedGrant[]> {
  const rows = await select<Record<string, string> & { granted_at: Date; expires_at: Date | null }>(
    client,
    `select * from public.replay_token_balances($1)
      where grant_id is not null and (exact > 0 or stored > 0)
      order by granted_at, grant_id`,
    [userId],
  );
  return rows.map((row) => ({
    grantId: row["grant_id"]!,
    grantType: row["grant_type"]!,
    grantedAt: row.granted_at,
    expiresAt: row.expires_at,
    granted: Number(row["tokens_granted"]),
    exact: Number(row["exact"]),
    stored: Number(row["stored"]),
    difference: Number(row["difference"]),
  }));
}

/** Books a user's differences as restatements, under the lock of their account. */
export async function restate(client: SqlClient, userId: string, reason: string): Promise<Restated> {
  const [row] = await select<{
    receipt: { tokens_taken: number; tokens_given: number; transaction_ids: number[] };
  }>(client, "select public.restate_token_balances($1, $2) as receipt", [userId, reason]);
  const { tokens_taken: taken, tokens_given: given, transaction_ids: transactionIds } = row!.receipt;
  return { userId, taken, given, transactionIds };
}
