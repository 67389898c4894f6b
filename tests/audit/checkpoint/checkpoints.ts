/** Checkpoints as a server makes and verifies them, and ways of changing the past behind the books' back. */
import type pg from "pg";
import type { Database } from "../../support/database.ts";
import { rpc } from "../../support/roles.ts";
import type { Breach } from "../../../packages/tokenbook/src/data/verification.ts";

/** A whole checkpoint. */
export interface Checkpoint {
  lines: string[];
  digest: string;
  /** How many entries no checkpoint had read, on each page. */
  read: number[];
}

/** Makes one, page by page. */
export async function takeCheckpoint(
  client: pg.ClientBase,
  { user, limit }: { user?: string; limit?: number } = {},
): Promise<Checkpoint> {
  const made: Checkpoint = { lines: [], digest: "", read: [] };
  let next: object | null = {};
  while (next !== null) {
    const page = await rpc(client, "checkpoint_token_ledger", {
      ...(user !== undefined && { p_user_id: user }),
      ...(limit !== undefined && { p_limit: limit }),
      ...next,
    });
    made.lines.push(...page.lines);
    made.read.push(page.entries_read);
    made.digest = page.digest;
    next = page.next;
  }
  return made;
}

/** The lines of its users; the first line says when it was made. */
export const linesOf = ({ lines }: Checkpoint): string[] => lines.slice(1);

/** What is not as that checkpoint says. */
export async function verifyCheckpoint(
  client: pg.ClientBase,
  { lines }: Pick<Checkpoint, "lines">,
): Promise<Breach[]> {
  const { rows } = await client.query<Breach>("select * from public.verify_token_checkpoint($1)", [
    JSON.stringify(lines),
  ]);
  return rows;
}

/** Does something as the owner of the tables, with the trigger and the constraints off; then it never was. */
export async function tamper<T>(db: Database, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
  const client = await db.admin.connect();
  try {
    await client.query(`begin;
      alter table public.token_transactions disable trigger all;
      alter table public.token_transactions drop constraint if exists token_transactions_are_sound`);
    return await work(client);
  } finally {
    await client.query("rollback");
    client.release();
  }
}

/** Takes an entry out of a long ledger of deductions of 1 and makes everything else fit, as who knows the books would. */
export async function removeDeduction(client: pg.ClientBase, user: string, id: number): Promise<void> {
  await client.query("delete from public.token_transactions where user_id = $1 and id = $2", [user, id]);
  await moveNumbers(client, user, id, -1);
  await fitTotals(client, user, 1);
}

/** Puts one in: a copy of the entry that has that number. */
export async function insertDeduction(client: pg.ClientBase, user: string, id: number): Promise<void> {
  await moveNumbers(client, user, id - 1, 1);
  await client.query(
    `insert into public.token_transactions
     select (jsonb_populate_record(t, jsonb_build_object('id', t.id - 1, 'balance_after', t.balance_after + 1))).*
       from public.token_transactions t where t.user_id = $1 and t.id = $2 + 1`,
    [user, id],
  );
  await fitTotals(client, user, -1);
}

/** What comes after that number is numbered by so much otherwise, and the balances with it. */
async function moveNumbers(client: pg.ClientBase, user: string, after: number, by: number): Promise<void> {
  // by way of numbers that nobody has
  for (const [from, to] of [
    [after, 1_000_000 + by],
    [1_000_000, -1_000_000],
  ] as const) {
    await client.query(
      "update public.token_transactions set id = id + $3 where user_id = $1 and id > $2 and id <= $2 + 500000",
      [user, from, to],
    );
  }
  await client.query(
    "update public.token_transactions set balance_after = balance_after - $3 where user_id = $1 and id >= $2",
    [user, by > 0 ? after + 2 : after, by],
  );
}

async function fitTotals(client: pg.ClientBase, user: string, tokens: number): Promise<void> {
  await client.query(
    `update public.token_balances set tokens_remaining = tokens_remaining + ${tokens} where user_id = '${user}';
     update public.token_accounts set tokens_remaining = tokens_remaining + ${tokens}, tokens_used = tokens_used - ${tokens},
            spent_day = spent_day - ${tokens}, spent_week = spent_week - ${tokens}, spent_month = spent_month - ${tokens},
            last_transaction_id = last_transaction_id - ${tokens} where user_id = '${user}'`,
  );
}

/** The tables that know a user who was granted tokens and spent them. */
const tablesOfUser = ["token_accounts", "token_balances", "token_transactions", "token_usage"];

/** Takes a user out of the books, with everything. */
export async function removeUser(client: pg.ClientBase, user: string): Promise<void> {
  for (const table of tablesOfUser) {
    await client.query(`delete from public.${table} where user_id = $1`, [user]);
  }
}
