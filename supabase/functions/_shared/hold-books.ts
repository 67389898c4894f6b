/**
 * What a call that is paid by a hold says to the books: it reserves, it settles, and it says either
 * again until it is heard. Every question may be repeated: a reservation by its key, a settlement
 * because a hold is settled once.
 *
 * No import from a registry and nothing that only Deno has: it runs wherever `fetch` does.
 */
import { TokenbookError } from "./token-error.ts";
import { askedOf, isWorthRepeating, type Patience, type Question, untilHeard } from "./until-heard.ts";

/** What a call was, in the end. */
export type Outcome = "completed" | "failed" | "aborted" | "timed_out";

/** What a call used. Counts are whole numbers; what is cached or reasoned is part of the whole. */
export interface Usage {
  /** The model, as `token_model_prices` names it. */
  model?: string;
  /** Tokens of the prompt, cached ones included. */
  inputTokens?: number;
  /** Tokens of the answer, reasoning included. */
  outputTokens?: number;
  /** Of the input. */
  cachedTokens?: number;
  /** Of the output. */
  reasoningTokens?: number;
  /** Images made. */
  images?: number;
  /** Seconds of audio. */
  seconds?: number;
  /** What to pay, whatever was counted; left out, what the counts come to. */
  tokens?: number;
  /** Goes into the usage row. */
  metadata?: Record<string, unknown>;
}

/** What came of a hold. */
export interface HoldReceipt {
  outcome: Outcome;
  holdId: string;
  /** `expired` and `released`: the hold had ended before the call, and the use was charged without it. */
  status: "captured" | "released" | "expired";
  tokensHeld: number;
  tokensDeducted: number;
  /** Used, and owed by the user: with `onOverrun: "overdraft"`. */
  tokensOverdrawn: number;
  /** Used and not paid: there were no more tokens. */
  tokensUncovered: number;
  /** What the user has left to spend. */
  tokensRemaining: number;
  /** The row in `token_usage`, if one was written. */
  usageId: string | null;
  /** The deduction in the ledger, if there was one. */
  transactionId: number | null;
  /** What the call cost the project; null when no price is known. */
  costCents: number | null;
  /** Of a call of a task: how its budget stands when the call is over. */
  budget?: BudgetStanding;
}

/** How the budget of a task stands: a hold, of which each call has a part. */
export interface BudgetStanding {
  holdId: string;
  status: "open" | "captured" | "released" | "expired";
  /** What was set aside for the task. */
  tokens: number;
  /** What of it calls have that run, or paid. */
  tokensPassed: number;
  /** What calls may still take; nothing once it has ended. */
  tokensLeft: number;
  /** What calls have paid. */
  tokensUsed: number;
}

/** What supabase-js calls a client, as far as it is needed here. */
export interface HoldClient {
  rpc(
    name:
      | "reserve_tokens"
      | "capture_tokens"
      | "release_tokens"
      | "track_token_usage"
      | "get_user_token_balance"
      | "get_token_history",
    args: Record<string, unknown>,
  ): Question;
}

/** What a reservation and a settlement are about. */
export interface Terms {
  userId: string;
  tokens: number;
  actionType: string;
  model: string | undefined;
  ttlSeconds: number;
  /** Of the caller's request. */
  idempotencyKey: string | undefined;
  metadata: Record<string, unknown>;
  onOverrun: "deduct" | "overdraft" | "cap";
  /** The hold that this is a part of: the budget of a task. */
  parentHold: string | undefined;
  patience: Required<Patience>;
}

/** An open hold. */
export interface Held {
  holdId: string;
  tokens: number;
}

/** A spend cap that was met. */
export interface SpendCap {
  scope: string;
  window: string;
  limit: number;
  used: number;
  resets_at: string;
}

/**
 * The user may not spend as many tokens. Nothing was changed, and the key is not used up.
 *
 * @example
 * ```ts
 * try {
 *   await withTokenHold(server, { userId, tokens: 500, actionType: "chat_conversation" }, work);
 * } catch (error) {
 *   if (error instanceof TokensShortError) show(`${error.required - error.available} tokens are missing`);
 *   else throw error;
 * }
 * ```
 */
export class TokensShortError extends TokenbookError {
  override readonly name = "TokensShortError";
  readonly required: number;
  /** How many there are; under a cap, how many it leaves. */
  readonly available: number;
  /** The cap that does not allow it, however many there are; undefined: there are not as many. */
  readonly cappedBy: SpendCap | undefined;

  constructor(required: number, available: number, cappedBy?: SpendCap) {
    const { resets_at: resetsAt = "", ...cap } = cappedBy ?? {};
    const why = cappedBy === undefined ? "" : `: a cap of ${cappedBy.limit} a ${cappedBy.window}`;
    super(
      cappedBy === undefined ? "insufficient_balance" : "spend_cap_reached",
      { required, available, ...cap, ...(resetsAt !== "" && { resetsAt }) },
      { message: `${required} tokens are needed, ${available} are available${why}` },
    );
    this.required = required;
    this.available = available;
    this.cappedBy = cappedBy;
  }
}

/**
 * The budget of a task does not reach for another call. Nothing was held, and the model was not asked.
 *
 * @example
 * ```ts
 * try {
 *   await withTokenHold(server, { userId, tokens: 500, actionType: "chat_conversation", parentHold }, work);
 * } catch (error) {
 *   if (error instanceof BudgetSpentError) show(`${error.available} tokens are left of the task's budget`);
 *   else throw error;
 * }
 * ```
 */
export class BudgetSpentError extends TokenbookError {
  override readonly name = "BudgetSpentError";
  readonly required: number;
  /** What is left of it that pays for such a call. */
  readonly available: number;

  constructor(required: number, available: number) {
    super(
      "parent_hold_short",
      { required, available },
      { message: `${required} tokens are needed, ${available} are left of the budget` },
    );
    this.required = required;
    this.available = available;
  }
}

/**
 * A call with that key is running, or has been paid for. This one was not made.
 *
 * @example
 * ```ts
 * const terms = { userId, tokens: 500, actionType: "chat_conversation", idempotencyKey: message.id };
 * try {
 *   await withTokenHold(server, terms, work);
 * } catch (error) {
 *   if (error instanceof CallAlreadyMadeError) show(error.holdStatus === "open" ? "It is running" : "It was made");
 *   else throw error;
 * }
 * ```
 */
export class CallAlreadyMadeError extends TokenbookError {
  override readonly name = "CallAlreadyMadeError";
  /** `open`: it is running, or its process died and the hold has yet to run out. */
  readonly holdStatus: "open" | "settled";

  constructor(holdStatus: "open" | "settled") {
    const message = `a call with that key ${holdStatus === "open" ? "is running" : "has been paid for"}`;
    super("call_already_made", { holdStatus }, { message });
    this.holdStatus = holdStatus;
  }
}

/** How many calls may be made under one key before one of them is paid for. */
const runsOfOneKey = 5;

/**
 * Sets the tokens aside.
 *
 * The books must know this run again, because an answer can be lost on its way: so each run writes a
 * name of its own into the hold's metadata, and another run with the same key is refused for it.
 * A run that is refused asks how that other run ended. One that cost nothing (the provider was down,
 * the process died) does not stand in the way: the call is made under the key's next number.
 */
export async function reserve(client: HoldClient, terms: Terms): Promise<Held> {
  const run = crypto.randomUUID();
  // A name of its own, so that nobody can use up a key that the server needs for something else.
  const asked = `call:${terms.idempotencyKey ?? run}`;
  for (let nth = 1; ; nth++) {
    const key = nth === 1 ? asked : `${asked}:${nth}`;
    try {
      const receipt = await call<ReserveReceipt>(client, "reserve_tokens", reserveArgs(terms, key, run), {
        ...terms.patience,
        attempts: Math.min(terms.patience.attempts, 4),
      });
      if (!receipt.success) {
        throw new TokensShortError(
          terms.tokens,
          Math.max(0, terms.tokens - receipt.tokens_remaining_to_deduct),
          receipt.capped_by,
        );
      }
      return { holdId: receipt.hold_id, tokens: receipt.tokens_reserved };
    } catch (error) {
      if (error instanceof TokenbookError && error.code === "parent_hold_short") {
        throw new BudgetSpentError(terms.tokens, payableOf(error));
      }
      if (!isAnotherRun(error)) throw error;
      const fate = await fateOf(client, terms, key);
      if (fate !== "free" || nth === runsOfOneKey) {
        throw new CallAlreadyMadeError(fate === "open" ? "open" : "settled");
      }
    }
  }
}

/**
 * Settles the hold: pays for `usage`, or without it records a call that is not charged for.
 *
 * @param usage what to pay for; undefined when nothing is to be paid
 * @param noted what was used all the same, and why it is not paid for
 */
export async function settle(
  client: HoldClient,
  terms: Terms,
  held: Held,
  outcome: Outcome,
  usage: Usage | undefined,
  noted: { usage?: Usage | undefined; error?: string | undefined } = {},
): Promise<HoldReceipt> {
  const seen = usage ?? noted.usage;
  const metadata = { ...terms.metadata, ...seen?.metadata, outcome };
  const pays = usage !== undefined;
  const counts = {
    p_model_used: seen?.model,
    p_input_tokens: seen?.inputTokens,
    p_output_tokens: seen?.outputTokens,
    p_cached_tokens: seen?.cachedTokens,
    p_reasoning_tokens: seen?.reasoningTokens,
    p_images: seen?.images,
    p_seconds: seen?.seconds,
    p_success: pays ? undefined : false,
    p_error_message: pays ? undefined : (noted.error ?? outcome),
  };
  const capture = (overCapture: "partial" | "overdraft" | "cap") =>
    callOrBare<CaptureReceipt>(
      client,
      "capture_tokens",
      {
        p_user_id: terms.userId,
        p_hold_id: held.holdId,
        p_tokens: pays ? usage.tokens : undefined,
        p_over_capture: overCapture,
        ...counts,
        p_metadata: metadata,
      },
      terms.patience,
    );
  const captured =
    terms.onOverrun === "overdraft"
      ? await overdrawn(capture, ({ success, status }) => success || status !== "open")
      : await capture(terms.onOverrun === "deduct" ? "partial" : "cap");
  if (captured.success) return receiptOf(outcome, held, captured, captured.tokens_remaining_to_deduct);

  // Released by somebody, or it ran out. What was used is charged all the same, or part of it: no
  // use goes without a trace. Of a task it is charged to the budget, and beyond that not at all.
  const again = terms.parentHold === undefined ? undefined : await heldAgain(client, terms, held);
  if (again !== undefined) {
    const late = await callOrBare<CaptureReceipt>(
      client,
      "capture_tokens",
      {
        p_user_id: terms.userId,
        p_hold_id: again,
        p_tokens: pays ? usage.tokens : undefined,
        p_over_capture: "partial",
        ...counts,
        p_metadata: metadata,
      },
      terms.patience,
    );
    if (late.success)
      return receiptOf(outcome, held, { ...late, status: captured.status }, late.tokens_remaining_to_deduct);
  }
  const isCounted = (seen?.inputTokens ?? seen?.outputTokens) !== undefined;
  const track = (onShortage: "partial" | "overdraft") =>
    callOrBare<TrackReceipt>(
      client,
      "track_token_usage",
      {
        p_user_id: terms.userId,
        p_action_type: terms.actionType,
        ...counts,
        ...(terms.parentHold !== undefined && { p_success: false, p_error_message: "the budget had ended" }),
        p_tokens_used: pays ? (usage.tokens ?? (isCounted ? undefined : held.tokens)) : undefined,
        p_on_shortage: onShortage,
        p_idempotency_key: lateKey(held.holdId),
        p_metadata: metadata,
      },
      terms.patience,
    );
  const tracked =
    terms.onOverrun === "overdraft"
      ? await overdrawn(track, ({ success }) => success)
      : await track("partial");
  return receiptOf(
    outcome,
    held,
    { ...tracked, status: captured.status },
    tracked.tokens_remaining_to_deduct,
  );
}

/**
 * Lets the account owe what is not there. Where that is refused (a frozen account), or past the limit, it takes what there
 * is: the use has happened.
 */
async function overdrawn<Receipt>(
  ask: (how: "overdraft" | "partial") => Promise<Receipt>,
  isDone: (receipt: Receipt) => boolean,
): Promise<Receipt> {
  try {
    const receipt = await ask("overdraft");
    if (isDone(receipt)) return receipt;
  } catch (error) {
    if (!(error instanceof TokenbookError) || isWorthRepeating(error)) throw error;
  }
  return await ask("partial");
}

/** What is left of a budget that pays for such a call, as its refusal says. */
const payableOf = ({ facts }: TokenbookError) => facts.payable ?? 0;

/** What is left of the task's budget, up to what the call had held; undefined: there is nothing. */
async function heldAgain(client: HoldClient, terms: Terms, held: Held): Promise<string | undefined> {
  let tokens = held.tokens;
  for (;;) {
    try {
      const key = `${lateKey(held.holdId)}:${tokens}`;
      const args = { ...reserveArgs({ ...terms, tokens }, key, held.holdId) };
      return (await call<ReserveReceipt>(client, "reserve_tokens", args, terms.patience)).hold_id;
    } catch (error) {
      if (!(error instanceof TokenbookError) || isWorthRepeating(error)) throw error;
      const left = error.code === "parent_hold_short" ? payableOf(error) : 0;
      if (left < 1 || left >= tokens) return undefined;
      tokens = left;
    }
  }
}

/** Gives everything back, for a call that was never made. */
export async function release(client: HoldClient, terms: Terms, held: Held): Promise<void> {
  const args = { p_user_id: terms.userId, p_hold_id: held.holdId };
  await call(client, "release_tokens", args, terms.patience);
}

/** Under which key a use is recorded whose hold had ended. */
const lateKey = (holdId: string) => `hold:${holdId}`;

interface ReserveReceipt {
  success: boolean;
  hold_id: string;
  tokens_reserved: number;
  tokens_remaining_to_deduct: number;
  capped_by?: SpendCap;
}

interface TrackReceipt {
  success: boolean;
  tokens_deducted: number;
  tokens_overdrawn?: number;
  tokens_remaining_to_deduct: number;
  tokens_remaining: number;
  usage_id: string | null;
  transaction_id: number | null;
  cost_estimate: number | null;
}

interface CaptureReceipt extends TrackReceipt {
  success: boolean;
  status: "open" | "captured" | "released" | "expired";
  budget?: BudgetAnswer;
}

/** How `reserve_tokens`, `capture_tokens` and `release_tokens` say how a budget stands. */
export interface BudgetAnswer {
  hold_id: string;
  status: BudgetStanding["status"];
  tokens: number;
  tokens_passed: number;
  tokens_left: number;
  tokens_used: number;
}

export const standingOf = (it: BudgetAnswer): BudgetStanding => ({
  holdId: it.hold_id,
  status: it.status,
  tokens: it.tokens,
  tokensPassed: it.tokens_passed,
  tokensLeft: it.tokens_left,
  tokensUsed: it.tokens_used,
});

function reserveArgs(terms: Terms, key: string, run: string): Record<string, unknown> {
  return {
    p_user_id: terms.userId,
    p_tokens: terms.tokens,
    p_ttl_seconds: terms.ttlSeconds,
    p_action_type: terms.actionType,
    p_model_used: terms.model,
    p_idempotency_key: key,
    p_metadata: { ...terms.metadata, run },
    p_parent_hold: terms.parentHold,
  };
}

/** Metadata that is too long, or a text that cannot be stored, must not cost the trace of the use. */
async function callOrBare<Result>(
  client: HoldClient,
  name: "capture_tokens" | "track_token_usage",
  args: Record<string, unknown>,
  patience: Required<Patience>,
): Promise<Result> {
  try {
    return await call(client, name, args, patience);
  } catch (error) {
    if (!(error instanceof TokenbookError) || isWorthRepeating(error)) throw error;
    const { p_metadata: _, p_error_message: __, ...bare } = args;
    return await call(client, name, bare, patience);
  }
}

function receiptOf(
  outcome: Outcome,
  held: Held,
  charge: TrackReceipt & { status: CaptureReceipt["status"]; budget?: BudgetAnswer },
  uncovered: number,
): HoldReceipt {
  return {
    outcome,
    holdId: held.holdId,
    status: charge.status as HoldReceipt["status"],
    tokensHeld: held.tokens,
    tokensDeducted: charge.tokens_deducted,
    tokensOverdrawn: charge.tokens_overdrawn ?? 0,
    tokensUncovered: uncovered,
    tokensRemaining: charge.tokens_remaining,
    usageId: charge.usage_id,
    transactionId: charge.transaction_id,
    costCents: charge.cost_estimate,
    ...(charge.budget !== undefined && { budget: standingOf(charge.budget) }),
  };
}

/** Whether the books know the key from a request that differs in nothing but the run's name, and the budget that it had. */
function isAnotherRun(error: unknown): boolean {
  if (!(error instanceof TokenbookError) || error.code !== "idempotency_key_reused") return false;
  const { differs = [] } = error.facts;
  return differs.length > 0 && differs.every((field) => field === "metadata" || field === "parentHold");
}

interface HistoryEntry {
  entry_type: string;
  action_type: string;
  tokens: number;
  debt_change: number;
  hold_id: string | null;
  idempotency_key: string | null;
}

/** How many of the newest transactions are looked through, 200 a page. */
const pagesLookedThrough = 5;

/**
 * What came of the run that has the key: `open`, `free` (it ended and nothing was deducted for it)
 * or `settled`. The ledger says it: a hold's end is newer than the hold.
 */
async function fateOf(client: HoldClient, terms: Terms, key: string): Promise<"open" | "free" | "settled"> {
  // Reading the balance books what has run out; a reservation that is refused has booked nothing.
  await call(client, "get_user_token_balance", { p_user_id: terms.userId }, terms.patience);
  const deducted = new Map<string, number>();
  let before: number | null | undefined;
  for (let page = 0; page < pagesLookedThrough && before !== null; page++) {
    const history: { transactions: HistoryEntry[]; next_before: number | null } = await call(
      client,
      "get_token_history",
      { p_user_id: terms.userId, p_limit: 200, p_before: before },
      terms.patience,
    );
    for (const entry of history.transactions) {
      if (entry.action_type === "hold_split" && entry.idempotency_key?.startsWith(lateKey(""))) {
        // what a call of a task paid whose own hold had ended
        const first = entry.idempotency_key.split(":")[1]!;
        deducted.set(first, (deducted.get(first) ?? 0) + (deducted.get(entry.hold_id!) ?? 0));
        continue;
      }
      if (entry.entry_type === "hold" || entry.action_type === "hold_split") {
        if (entry.idempotency_key !== key) continue;
        const tokens = deducted.get(entry.hold_id!);
        if (tokens === undefined) return "open";
        return tokens === 0 ? "free" : "settled";
      }
      const late = entry.idempotency_key?.startsWith(lateKey("")) && entry.idempotency_key.slice(5);
      const holdId = entry.hold_id ?? late;
      if (holdId) deducted.set(holdId, (deducted.get(holdId) ?? 0) + entry.debt_change - entry.tokens);
    }
    before = history.next_before;
  }
  return "settled"; // too far back to say, and so not made again
}

async function call<Result>(
  client: HoldClient,
  name: Parameters<HoldClient["rpc"]>[0],
  args: Record<string, unknown>,
  patience: Required<Patience>,
): Promise<Result> {
  const given = Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined));
  return await untilHeard<Result>(askedOf(client, name, given), patience);
}
