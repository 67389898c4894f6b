/** What the tests of ai-chat share: asking it, reading what it streams, and looking up what was charged. */
import { expect } from "vitest";
import type { Caller, Stack } from "../stack.ts";

export interface Streamed {
  status: number;
  text: string;
  /** The words of the answer. */
  content: string;
  /** The events that are JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any
  events: any[];
  /** The problem with which it broke off. */
  // oxlint-disable-next-line typescript/no-explicit-any
  error: any;
  /** Whether it said that it was over. */
  isDone: boolean;
  /** What it said of the charge. */
  // oxlint-disable-next-line typescript/no-explicit-any
  cost: any;
}

export const question = "Count to four, and mention nobody-may-log-this.";

export const bodyFor = (model: string, rest: object = {}) => ({
  model,
  messages: [{ role: "user", content: question }],
  max_tokens: 200,
  ...rest,
});

/** Asks, and reads the answer to its end. */
export async function chat(
  stack: Stack,
  caller: Caller,
  body: object,
  headers: Record<string, string> = {},
): Promise<Streamed> {
  const { status, text } = await stack.ask("ai-chat", { caller, body, headers });
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, it]) => it!);
  const events = data.filter((it) => it !== "[DONE]").map((it) => JSON.parse(it));
  const cost = /^: tokenbook (.*)$/m.exec(text)?.[1];
  return {
    status,
    text,
    content: events.map((it) => it.choices?.[0]?.delta?.content ?? "").join(""),
    events,
    error: events.find((it) => it.error !== undefined)?.error,
    isDone: data.at(-1) === "[DONE]",
    cost: cost && JSON.parse(cost),
  };
}

/** Asks, and goes away after that many pieces of the answer, or as soon as something is so. */
export async function leave(
  stack: Stack,
  caller: Caller,
  body: object,
  after: number | (() => boolean),
): Promise<void> {
  const gone = new AbortController();
  const asking = fetch(`${stack.url}/functions/v1/ai-chat`, {
    method: "POST",
    headers: { "content-type": "application/json", ...caller.headers },
    body: JSON.stringify(body),
    signal: gone.signal,
  });
  if (typeof after === "function") {
    const leaving = expect(asking).rejects.toThrow(/abort/);
    await expect.poll(after, { timeout: 5_000 }).toBe(true);
    gone.abort();
    await leaving;
    return;
  }
  const reader = (await asking).body!.getReader();
  for (let read = 0; read < after; read++) await reader.read();
  gone.abort();
}

/** How a user's calls stand in the books. */
export interface Books {
  holds: { status: string; tokens: number; captured: number | null; uncovered: number }[];
  usage: {
    success: boolean;
    tokens: number;
    input: number | null;
    output: number | null;
    cached: number | null;
    reasoning: number | null;
    uncovered: number;
    error: string | null;
    model: string | null;
    metadata: Record<string, unknown>;
  }[];
  /** Tokens that were deducted in all. */
  deducted: number;
  reserved: number;
}

export async function booksOf(stack: Stack, userId: string): Promise<Books> {
  const query = async (sql: string) => (await stack.db.admin.query(sql, [userId])).rows;
  const [totals] = await query(
    `select (select coalesce(-sum(tokens), 0) from public.token_transactions
              where user_id = $1 and entry_type = 'deduction')::float8 as deducted,
            (select tokens_reserved from public.token_accounts where user_id = $1)::float8 as reserved`,
  );
  return {
    ...totals,
    holds: await query(
      `select status, tokens::float8, tokens_captured::float8 as captured, tokens_uncovered::float8 as uncovered
         from public.token_holds where user_id = $1 order by transaction_id`,
    ),
    usage: await query(
      `select success, tokens_used::float8 as tokens, input_tokens::float8 as input, output_tokens::float8 as output,
              cached_tokens::float8 as cached, reasoning_tokens::float8 as reasoning,
              tokens_uncovered::float8 as uncovered, error_message as error, model_used as model, metadata
         from public.token_usage where user_id = $1 order by created_at`,
    ),
  };
}

/** Fails unless the books are right and nobody's tokens are held any more. */
export async function expectSettledBooks(stack: Stack): Promise<void> {
  const { rows } = await stack.db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  const { rows: open } = await stack.db.admin.query(
    "select user_id, metadata from public.token_holds where status = 'open'",
  );
  expect(open).toEqual([]);
}
