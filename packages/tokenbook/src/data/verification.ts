import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** A broken invariant, as `verify_token_ledger` reports it. */
export interface Breach {
  invariant: string;
  /** null: of the project, not of a user. */
  user_id: string | null;
  grant_id: string | null;
  /** A number as text: node-postgres does not round what may be longer than a double. */
  transaction_id: string | null;
  expected: string | null;
  found: string | null;
}

/** What was found among the users after one id up to another. */
export interface Piece {
  breaches: Breach[];
  /** How many accounts it had. */
  users: number;
  /** The last user of it: where the next piece, or another run, goes on. Null after the last piece. */
  until: string | null;
}

/** How many users there are, and how many of them a run that goes on need not look at again. */
export async function countUsers(
  client: SqlClient,
  after: string | null,
): Promise<{ all: number; done: number }> {
  const [row] = await select<{ all: string; done: string }>(
    client,
    `select count(*) as all, count(*) filter (where a.user_id <= $1::uuid) as done from public.token_accounts a`,
    [after],
  );
  return { all: Number(row!.all), done: Number(row!.done) };
}

/** The breaches of one user's books. */
export async function verifyUser(client: SqlClient, userId: string): Promise<Breach[]> {
  return await select<Breach>(client, "select * from public.verify_token_ledger($1)", [userId]);
}

/**
 * Goes through everybody's books in pieces, each in one snapshot. A piece is as many users as have about
 * that many transactions; one that takes longer than the server allows, or than a read replica can keep what it reads, is
 * taken again in halves.
 *
 * The first piece has also the users before its first account and the last one those after its last, so
 * that books without an account are not passed over either.
 *
 * @param after the user after whom to begin; null at the first.
 * @param transactions how many a piece should have.
 */
export async function* verifyInPieces(
  client: SqlClient,
  after: string | null,
  transactions: number,
): AsyncGenerator<Piece, void, undefined> {
  let size = transactions;
  for (;;) {
    const { users, until, transactions: has } = await nextPiece(client, after, size);
    try {
      const breaches = await verifyPiece(client, after, until, users <= 1);
      yield { breaches, users, until };
    } catch (error) {
      if (!cancelled.includes((error as { code?: string }).code ?? "") || users <= 1) throw error;
      size = Math.min(size, has) / 2;
      continue;
    }
    if (until === null) return;
    after = until;
  }
}

/** By a timeout or a person; by a read replica that has to catch up. */
const cancelled = ["57014", "40001"];

/** The most users in a piece: with few transactions each, users are what takes time. */
const mostUsers = 20_000;

/** How far the next piece goes. By what accounts say of their ledgers, which may be wrong: then it is longer. */
async function nextPiece(
  client: SqlClient,
  after: string | null,
  transactions: number,
): Promise<{ users: number; until: string | null; transactions: number }> {
  const [row] = await select<{ users: string; until: string; is_last: boolean; transactions: string }>(
    client,
    `with accounts as (
       select a.user_id, a.last_transaction_id
         from public.token_accounts a
        where $1::uuid is null or a.user_id > $1::uuid
        order by a.user_id
        limit $3 + 1
     ), counted as (
       select a.user_id, row_number() over by_id as nth, count(*) over () as users,
              sum(1 + least(greatest(a.last_transaction_id, 0), 1000000000)) over by_id as transactions
         from accounts a
       window by_id as (order by a.user_id)
     )
     select c.nth as users, c.user_id as until, c.nth = c.users as is_last, c.transactions
       from counted c
      where c.nth = 1 or (c.nth <= $3 and c.transactions <= $2)
      order by c.user_id desc
      limit 1`,
    [after, Math.ceil(transactions), mostUsers],
  );
  if (row === undefined) return { users: 0, until: null, transactions: 0 };
  return {
    users: Number(row.users),
    until: row.is_last ? null : row.until,
    transactions: Number(row.transactions),
  };
}

async function verifyPiece(
  client: SqlClient,
  after: string | null,
  until: string | null,
  isOneUser: boolean,
): Promise<Breach[]> {
  return await inTransaction(client, async () => {
    // Planned for this piece, not for any: the bounds decide whether an index helps. For this
    // transaction only, because the connection may be a pooler's.
    await client.query("set local plan_cache_mode = force_custom_plan");
    await client.query("set local jit = off");
    // One user cannot be halved.
    if (isOneUser) await client.query("set local statement_timeout = 0");
    return await select<Breach>(client, "select * from public.verify_token_ledger(null, $1, $2)", [
      after,
      until,
    ]);
  });
}
