/** A mixed workload: every operation of the books, over a few users, each under a key of its own. */
import type pg from "pg";
import { type Dice, diceFor } from "./dice.ts";

/** What an attempt does. */
export type Kind = "grant" | "deduct" | "track" | "reserve" | "capture" | "release" | "refund" | "adjust";

/** One call, as it is sent; sending it again is what a client does that got no answer. */
export interface Attempt {
  kind: Kind;
  user: string;
  sql: string;
  values: unknown[];
  /** Its idempotency key. A capture and a release have none: they are of a hold, which settles once. */
  key: string | null;
  hold: string | null;
}

/** The answer of a call. */
export interface Receipt {
  success: boolean;
  replayed: boolean;
  transaction_id: number | null;
  /** Of a hold; null when none was made. */
  status?: string | null;
  hold_id?: string;
  tokens_granted?: number;
  tokens_deducted?: number;
  tokens_refunded?: number;
  delta?: number;
}

/** Makes attempts, and learns from the answers what there is to capture, release and refund. */
export class Workload {
  /** Every attempt that was handed out, answered or not. */
  readonly attempts: Attempt[] = [];
  private readonly users: readonly string[];
  private readonly name: string;
  private readonly series: number;
  private readonly holds: { user: string; id: string }[] = [];
  private readonly charges: { user: string; id: number }[] = [];

  /**
   * @param name the beginning of its keys, so that two workloads never share one
   * @param series workloads of two series ask different things
   */
  constructor(users: readonly string[], name = "work", series = 0) {
    this.users = users;
    this.name = name;
    this.series = series;
  }

  /** A grant for each user, so that there is something to spend. */
  first(): Attempt[] {
    return this.users.map((user) => this.make("grant", this.dice(), user));
  }

  next(kinds: readonly Kind[] = usual): Attempt {
    const dice = this.dice();
    const kind = dice.any(kinds);
    if (kind === "capture" || kind === "release") {
      const at = dice.below(this.holds.length);
      // now and then one that is settled already, or is just being settled by another
      const hold = dice.chance(0.1) ? this.holds[at] : this.holds.splice(at, 1)[0];
      if (hold !== undefined) return this.make(kind, dice, hold.user, hold.id);
    }
    if (kind === "refund" && this.charges.length > 0) {
      const charge = dice.any(this.charges);
      return this.make(kind, dice, charge.user, charge.id);
    }
    const instead = kind === "capture" || kind === "release" || kind === "refund" ? "deduct" : kind;
    return this.make(instead, dice, dice.any(this.users));
  }

  /** Takes note of an answer. */
  learn({ kind, user }: Attempt, receipt: Receipt): void {
    if (!receipt.success) return;
    if (kind === "reserve") this.holds.push({ user, id: receipt.hold_id! });
    if (
      (kind === "deduct" || kind === "track" || kind === "capture") &&
      receipt.transaction_id !== null &&
      (receipt.tokens_deducted ?? 0) > 0
    ) {
      this.charges.push({ user, id: receipt.transaction_id });
    }
  }

  /** Of the attempt that comes next, and of no other: what an answer has changed is all that can differ. */
  private dice(): Dice {
    return diceFor(this.series * 1_000_000 + this.attempts.length);
  }

  private make(kind: Kind, dice: Dice, user: string, of: string | number | null = null): Attempt {
    const key = kind === "capture" || kind === "release" ? null : `${this.name}-${this.attempts.length}`;
    const { sql, values } = call[kind](dice, of);
    const attempt: Attempt = {
      kind,
      user,
      sql: `select ${sql} as receipt`,
      values: [user, ...values, ...(key === null ? [] : [key])],
      key,
      hold: key === null ? String(of) : null,
    };
    this.attempts.push(attempt);
    return attempt;
  }
}

/** Sends an attempt. */
export async function send(client: pg.ClientBase, attempt: Attempt): Promise<Receipt> {
  const { rows } = await client.query(attempt.sql, attempt.values);
  return rows[0].receipt as Receipt;
}

/** The name of an outcome: `deduct: done`, `deduct: short`. */
export function outcomeOf({ kind }: Attempt, receipt: Receipt): string {
  if (receipt.replayed) return `${kind}: was ${receipt.status ?? "done"}`;
  return `${kind}: ${receipt.success || receipt.status === "released" ? "done" : "short"}`;
}

/** By how many tokens a first answer says that it moved the user's ledger. */
export function movedBy({ kind }: Attempt, receipt: Receipt): number {
  if (!receipt.success) return 0;
  switch (kind) {
    case "grant":
      return receipt.tokens_granted!;
    case "deduct":
    case "track":
    case "capture":
      return -receipt.tokens_deducted!;
    case "refund":
      return receipt.tokens_refunded!;
    case "adjust":
      return receipt.delta!;
    case "reserve":
    case "release":
      return 0;
  }
}

/** Whether an error is an answer: a refusal of ours, after which nothing has changed. The server is never forbidden. */
export function isRefusal(error: unknown): error is Error & { code: string } {
  return /^PT\d{3}$/.test(String((error as { code?: unknown }).code));
}

const usual: readonly Kind[] = [
  "grant",
  "grant",
  "grant",
  "deduct",
  "deduct",
  "deduct",
  "deduct",
  "deduct",
  "track",
  "track",
  "track",
  "reserve",
  "reserve",
  "reserve",
  "reserve",
  "capture",
  "capture",
  "capture",
  "release",
  "refund",
  "refund",
  "adjust",
] as Kind[];

/** From 1 up to so many. */
const upTo = (most: number, dice: Dice) => 1 + dice.below(most);

const call: Record<Kind, (dice: Dice, of: string | number | null) => { sql: string; values: unknown[] }> = {
  grant: (dice) => ({
    sql: "public.grant_tokens($1, $2, 'purchase', p_idempotency_key => $3)",
    values: [upTo(400, dice)],
  }),
  deduct: (dice) => ({
    sql: "public.deduct_tokens_with_fifo($1, $2, 'chat_conversation', $3)",
    values: [upTo(150, dice)],
  }),
  track: (dice) => ({
    sql: `public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2, p_success => $3,
            p_on_shortage => 'partial', p_idempotency_key => $4)`,
    values: [upTo(150, dice), dice.chance(0.8)],
  }),
  reserve: (dice) => ({
    sql: "public.reserve_tokens($1, $2, 3600, 'chat_conversation', $3)",
    values: [upTo(150, dice)],
  }),
  capture: (dice, hold) => ({
    sql: "public.capture_tokens($1, $2, $3, 'cap')",
    values: [hold, upTo(150, dice)],
  }),
  release: (_, hold) => ({ sql: "public.release_tokens($1, $2)", values: [hold] }),
  refund: (dice, charge) => ({
    sql: "public.refund_tokens($1, $2, $3, p_idempotency_key => $4)",
    values: [charge, upTo(20, dice)],
  }),
  adjust: (dice) => ({
    sql: "public.adjust_tokens($1, $2, 'correction', $3)",
    values: [dice.chance(0.5) ? upTo(80, dice) : -upTo(80, dice)],
  }),
};
