/**
 * Charging for a call whose price is known only when it is over: tokens are held before it, what it
 * used is paid out of them after it, and the rest goes back; whatever becomes of the call.
 *
 * docs/guides/charging-for-a-streaming-call.md shows it at work. It runs in Deno and in Node from 20
 * on; elsewhere than in an edge function it is imported from `tokenbook`.
 */
import {
  type Held,
  type HoldClient,
  type HoldReceipt,
  type Outcome,
  release,
  reserve,
  settle,
  type Terms,
  type Usage,
} from "./hold-books.ts";
import { onlyKnown } from "./known-options.ts";
import { limits } from "./lists.ts";
import { TokenbookError } from "./token-error.ts";
import { type Patience, usualPatience } from "./until-heard.ts";

export {
  BudgetSpentError,
  type BudgetStanding,
  CallAlreadyMadeError,
  type HoldClient,
  type HoldReceipt,
  type Outcome,
  TokensShortError,
  type Usage,
} from "./hold-books.ts";
export { type ApiError, type Facts, TokenbookError } from "./token-error.ts";
export type { Answer, Patience, Question } from "./until-heard.ts";

/** What is held, for whom and for how long. */
export interface HoldOptions {
  userId: string;
  /** The most that the call is expected to cost. */
  tokens: number;
  /** What the call is, as in `token_action_costs`. */
  actionType: string;
  /** The model that will be called: some grants pay only for some. */
  model?: string | undefined;
  /**
   * Seconds after which the hold runs out by itself, from 2 on: when a process dies with its call, this is
   * when the tokens come back. Default as in `reserve_tokens`.
   */
  ttlSeconds?: number;
  /**
   * Milliseconds after which the call is stopped, reservation included. Shorter than the hold lives, so
   * that the hold is there to pay for it. Default: nine tenths of that, and no
   * more than 270 seconds.
   */
  timeoutMs?: number;
  /**
   * The key of the caller's request, at most 200 characters of A-Z a-z 0-9 . _ : -. A call that was
   * paid for is not made twice under it.
   */
  idempotencyKey?: string | undefined;
  /** The signal of the client that waits for the call; when it aborts, the client has gone. */
  signal?: AbortSignal;
  /** Goes into the hold and the usage row: an object of at most some kilobytes. */
  metadata?: Record<string, unknown>;
  /**
   * What a call costs that did not come to its end: `reported`, what it reported until then, or
   * `nothing`. By default a failed call costs nothing, and one that was aborted or timed out what it
   * reported: a client could bring about both after it has read the answer, all but its last word.
   */
  charge?: Partial<Record<Exclude<Outcome, "completed">, "reported" | "nothing">>;
  /**
   * When a call used more than was held: `deduct` (default) takes the difference too, or of it
   * what there is; `overdraft` takes what there is, and the account owes the rest, if its limit reaches that far
   * (else as `deduct`); `cap` takes no more than was held. What is not paid is recorded as uncovered.
   */
  onOverrun?: "deduct" | "overdraft" | "cap";
  /**
   * The id of a hold of the same user, the budget of a task of many calls: what this call holds is a part of that.
   * What it used beyond is taken from what the budget has left, and never from the balance.
   */
  parentHold?: string | undefined;
  /** Milliseconds that stopped work gets to report its last. Default 1000. */
  graceMs?: number;
  /** What the usage row says of a call that is not paid for. Default: the error's message. */
  describe?: (error: unknown, outcome: Outcome) => string;
  patience?: Patience;
}

/** What the work gets. */
export interface Hold {
  readonly holdId: string;
  /** How many tokens are held. */
  readonly tokens: number;
  /** Aborts when the call is to stop: pass it to `fetch`. */
  readonly signal: AbortSignal;
  /**
   * Says what the call has used so far, all of it: the last report counts. Work that returns without
   * any has used everything that was held.
   *
   * @throws RangeError when no call can have used that; TypeError for a field that there is not
   */
  report(usage: Usage): void;
}

/**
 * The call took longer than it may.
 *
 * @example
 * ```ts
 * try {
 *   await withTokenHold(server, { userId, tokens: 500, actionType: "chat_conversation", timeoutMs: 20_000 }, work);
 * } catch (error) {
 *   if (error instanceof CallTimedOutError) show("The model took too long");
 *   else throw error;
 * }
 * ```
 */
export class CallTimedOutError extends TokenbookError {
  override readonly name = "CallTimedOutError";

  constructor() {
    super("provider_timeout", {}, { message: "the call took too long" });
  }
}

/**
 * The call was made, and the books could not be told, however often it was tried. The hold runs out by
 * itself; what is in here is all that is left of the use, so log it.
 *
 * @example
 * ```ts
 * try {
 *   await withTokenHold(server, { userId, tokens: 500, actionType: "chat_conversation" }, work);
 * } catch (error) {
 *   if (error instanceof NotSettledError) console.error(error.holdId, error.outcome, error.usage);
 *   throw error;
 * }
 * ```
 */
export class NotSettledError extends Error {
  override readonly name = "NotSettledError";
  readonly userId: string;
  readonly holdId: string;
  readonly outcome: Outcome;
  readonly usage: Usage | undefined;
  /** What the work returned, if it did. */
  readonly value: unknown;

  constructor(userId: string, held: Held, ended: Ended<unknown>, cause: unknown) {
    super(`hold ${held.holdId} of a call that ${ended.outcome} is not settled`, { cause });
    this.userId = userId;
    this.holdId = held.holdId;
    this.outcome = ended.outcome;
    this.usage = ended.usage;
    this.value = ended.value;
  }
}

/**
 * Makes a call that is paid for by a hold. The hold is settled exactly once, before this returns or
 * throws: when the work returns, what it reported is paid; when it throws, is aborted or takes too
 * long, what `charge` says. Where `EdgeRuntime` is, the settlement is finished even if nobody waits
 * for it any more.
 *
 * @param client one that may act for the user: the server's, or the user's own
 * @throws {TokensShortError} {@link BudgetSpentError} {@link CallAlreadyMadeError} {@link TokenbookError} before the work
 * @throws what the work threw; the signal's reason; {@link CallTimedOutError}
 * @throws {NotSettledError} when the books could not be told
 * @throws TypeError for an option that there is not
 * @example
 * ```ts
 * const { value, receipt } = await withTokenHold(
 *   server,
 *   { userId, tokens: 2_000, actionType: "chat_conversation" },
 *   async (hold) => {
 *     const answer = await askTheModel("When does the tide come in?", hold.signal);
 *     hold.report({ inputTokens: answer.input, outputTokens: answer.output });
 *     return answer.text;
 *   },
 * );
 * ```
 */
export async function withTokenHold<Value>(
  client: HoldClient,
  options: HoldOptions,
  work: (hold: Hold) => Promise<Value>,
): Promise<{ value: Value; receipt: HoldReceipt }> {
  const { outcome, value, error, receipt, notSettled } = await finish(holdAndWork(client, options, work));
  if (notSettled !== undefined) throw notSettled;
  if (outcome !== "completed") throw error;
  return { value: value as Value, receipt: receipt! };
}

/** How a stream ended, when its hold is settled. */
export interface StreamEnd {
  outcome: Outcome;
  /** Missing when the books could not be told: then `notSettled` says it. */
  receipt?: HoldReceipt;
  /** Why it did not come to its end. */
  error?: unknown;
  notSettled?: NotSettledError;
}

/** A stream that is being paid for. */
export interface HeldStream<Chunk> {
  /** For the body of a Response. Read to its end, cancelled or failed, it settles the hold. */
  stream: ReadableStream<Chunk>;
  /** Resolves when the hold is settled; never rejects. */
  ended: Promise<StreamEnd>;
}

/**
 * {@link withTokenHold} for a call whose answer is a stream. Returns when the stream has been opened;
 * the hold lives as long as the stream, and is settled before the stream closes, so that a client that
 * has read it to its end sees the new balance.
 *
 * @param open makes the call and returns its stream. Whatever passes through it may `report`
 * @param lastChunk what the reader gets as the last, when the hold is settled. A stream that failed
 *   closes with it; without it, it fails
 * @throws as {@link withTokenHold}, when the stream could not be opened
 * @example
 * ```ts
 * const { stream } = await streamWithTokenHold(
 *   server,
 *   { userId, tokens: 2_000, actionType: "chat_conversation", signal: request.signal },
 *   (hold) => streamTheModel("When does the tide come in?", hold),
 * );
 * const response = new Response(stream.pipeThrough(new TextEncoderStream()));
 * ```
 */
export async function streamWithTokenHold<Chunk>(
  client: HoldClient,
  options: HoldOptions,
  open: (hold: Hold) => Promise<ReadableStream<Chunk>>,
  lastChunk: (end: StreamEnd) => Chunk | undefined = () => undefined,
): Promise<HeldStream<Chunk>> {
  const gone = new AbortController();
  const onAbort = () => gone.abort(options.signal?.reason);
  if (options.signal?.aborted) onAbort();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  let isOpen: (stream: ReadableStream<Chunk>) => void;
  const opened = new Promise<ReadableStream<Chunk>>((resolve) => (isOpen = resolve));

  const running = finish(
    holdAndWork(client, { ...options, signal: gone.signal }, async (hold) => {
      const source = await open(hold);
      await new Promise<void>((done, fail) => {
        const cancel = (reason: unknown) => gone.abort(reason);
        isOpen(passedOn(source, hold.signal, { done, fail, cancel, ended, lastChunk }));
      });
    }),
  );
  const ended = running.then(({ outcome, receipt, error, notSettled }): StreamEnd => ({
    outcome,
    ...(receipt !== undefined && { receipt }),
    ...(outcome !== "completed" && { error }),
    ...(notSettled !== undefined && { notSettled }),
  }));
  ended
    .catch(() => {}) // what goes wrong before the stream is open is thrown below
    .finally(() => options.signal?.removeEventListener("abort", onAbort));
  const stream = await Promise.race([
    opened,
    running.then(({ error, notSettled }): never => {
      throw notSettled ?? error;
    }),
  ]);
  return { stream, ended };
}

interface Passing<Chunk> {
  done(): void;
  fail(error: unknown): void;
  cancel(reason: unknown): void;
  ended: Promise<StreamEnd>;
  lastChunk(end: StreamEnd): Chunk | undefined;
}

/** The source, but its end waits for the settlement. Nothing is read ahead of the reader. */
function passedOn<Chunk>(
  source: ReadableStream<Chunk>,
  stop: AbortSignal,
  { done, fail, cancel, ended, lastChunk }: Passing<Chunk>,
): ReadableStream<Chunk> {
  const reader = source.getReader();
  let isOver = false;
  let wasCancelled = false;
  const letGo = (reason: unknown) => void reader.cancel(reason).catch(() => {});

  return new ReadableStream<Chunk>(
    {
      start(controller) {
        // Also when nobody reads: a reader who only keeps the line open must not keep the hold.
        const onStop = () => {
          fail(stop.reason);
          letGo(stop.reason);
          close(controller).catch((error) => controller.error(error));
        };
        if (stop.aborted) onStop();
        else stop.addEventListener("abort", onStop, { once: true });
      },
      async pull(controller) {
        if (isOver) return await close(controller);
        try {
          const next = await reader.read();
          if (isOver) return;
          if (!next.done) return controller.enqueue(next.value);
          done();
        } catch (error) {
          fail(error);
        }
        await close(controller);
      },
      cancel(reason) {
        wasCancelled = true;
        cancel(reason ?? new DOMException("the reader has gone", "AbortError"));
      },
    },
    { highWaterMark: 0 },
  );

  async function close(controller: ReadableStreamDefaultController<Chunk>): Promise<void> {
    if (isOver) return;
    isOver = true;
    const how = await ended;
    if (wasCancelled) return;
    const last = lastChunk(how);
    if (last !== undefined) controller.enqueue(last);
    if (last !== undefined || how.outcome === "completed") controller.close();
    else controller.error(how.error);
  }
}

/** How a call ended, before it is settled. */
interface Ended<Value> {
  outcome: Outcome;
  value?: Value;
  error?: unknown;
  usage: Usage | undefined;
}

interface Settled<Value> extends Ended<Value> {
  receipt?: HoldReceipt;
  notSettled?: NotSettledError;
}

/** Rejects only before there is a hold. */
async function holdAndWork<Value>(
  client: HoldClient,
  options: HoldOptions,
  work: (hold: Hold) => Promise<Value>,
): Promise<Settled<Value>> {
  const { terms, timeoutMs, graceMs } = termsOf(options);
  options.signal?.throwIfAborted();
  const deadline = performance.now() + timeoutMs; // before the hold begins to run
  const held = await reserve(client, terms);
  if (options.signal?.aborted) {
    // The client went away while the hold was made, and no call was made: nothing to record.
    const ended: Ended<Value> = { outcome: "aborted", error: options.signal.reason, usage: undefined };
    return await orNotSettled(
      release(client, terms, held).then(() => ended),
      ended,
    );
  }

  const ended = await ending(held, options, deadline, graceMs, work);
  const isPaid = ended.outcome === "completed" || policyOf(options, ended.outcome) === "reported";
  const usage = isPaid ? (ended.usage ?? (ended.outcome === "completed" ? {} : undefined)) : undefined;
  const { describe = messageOf } = options;
  const error = ended.error === undefined ? undefined : storable(describe(ended.error, ended.outcome));
  return await orNotSettled(
    settle(client, terms, held, ended.outcome, usage, { usage: ended.usage, error }).then((receipt) => ({
      ...ended,
      receipt,
    })),
    ended,
  );

  async function orNotSettled(settling: Promise<Settled<Value>>, as: Ended<Value>): Promise<Settled<Value>> {
    try {
      return await settling;
    } catch (cause) {
      return { ...as, notSettled: new NotSettledError(terms.userId, held, as, cause) };
    }
  }
}

/** Runs the work to its end, or to where it is stopped. */
async function ending<Value>(
  held: Held,
  { signal }: HoldOptions,
  deadline: number,
  graceMs: number,
  work: (hold: Hold) => Promise<Value>,
): Promise<Ended<Value>> {
  const stopping = new AbortController();
  let usage: Usage | undefined;
  let stoppedAs: "aborted" | "timed_out" | undefined;
  const stop = (as: "aborted" | "timed_out", reason: unknown) => {
    stoppedAs ??= as;
    stopping.abort(reason);
  };
  const onAbort = () => stop("aborted", signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(
    () => stop("timed_out", new CallTimedOutError()),
    Math.max(0, deadline - performance.now()),
  );
  const hold: Hold = {
    ...held,
    signal: stopping.signal,
    report: (used) => void (usage = checked(used)),
  };

  let grace: ReturnType<typeof setTimeout> | undefined;
  const stopped = new Promise<undefined>((resolve) => {
    stopping.signal.addEventListener("abort", () => {
      grace = setTimeout(() => resolve(undefined), graceMs);
    });
  });
  try {
    const working = (async () => await work(hold))();
    const ended = await Promise.race([
      working.then(
        (value): Ended<Value> => ({ outcome: "completed", value, usage }),
        (error): Ended<Value> => ({ outcome: "failed", error, usage }),
      ),
      stopped,
    ]);
    if (stoppedAs === undefined) return ended!;
    return { outcome: stoppedAs, error: stopping.signal.reason, usage };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    signal?.removeEventListener("abort", onAbort);
  }
}

function policyOf({ charge }: HoldOptions, outcome: Exclude<Outcome, "completed">): "reported" | "nothing" {
  return charge?.[outcome] ?? (outcome === "failed" ? "nothing" : "reported");
}

/** The compiler demands each of them. */
const holdOptions = {
  userId: 1,
  tokens: 1,
  actionType: 1,
  model: 1,
  ttlSeconds: 1,
  timeoutMs: 1,
  idempotencyKey: 1,
  signal: 1,
  metadata: 1,
  charge: 1,
  onOverrun: 1,
  parentHold: 1,
  graceMs: 1,
  describe: 1,
  patience: 1,
} satisfies Record<keyof HoldOptions, 1>;

const chargeOptions = { failed: 1, aborted: 1, timed_out: 1 } satisfies Record<
  keyof NonNullable<HoldOptions["charge"]>,
  1
>;

const usageFields = {
  model: 1,
  inputTokens: 1,
  outputTokens: 1,
  cachedTokens: 1,
  reasoningTokens: 1,
  images: 1,
  seconds: 1,
  tokens: 1,
  metadata: 1,
} satisfies Record<keyof Usage, 1>;

function termsOf(options: HoldOptions): { terms: Terms; timeoutMs: number; graceMs: number } {
  onlyKnown("withTokenHold", options, holdOptions);
  onlyKnown("charge of withTokenHold", options.charge ?? {}, chargeOptions);
  onlyKnown("patience", options.patience ?? {}, usualPatience);
  const { ttlSeconds = limits.hold_seconds, graceMs = 1_000, patience } = options;
  const { timeoutMs = Math.min(ttlSeconds * 900, hostedMs) - graceMs } = options;
  if (!(ttlSeconds >= 2 && ttlSeconds <= limits.hold_seconds_at_most))
    throw new RangeError(`ttlSeconds: 2 to ${limits.hold_seconds_at_most}`);
  if (!(timeoutMs > 0 && graceMs >= 0 && timeoutMs + graceMs < ttlSeconds * 1_000)) {
    throw new RangeError("timeoutMs: more than 0, and with graceMs less than the hold lives");
  }
  const {
    userId,
    tokens,
    actionType,
    model,
    idempotencyKey,
    metadata = {},
    onOverrun = "deduct",
    parentHold,
  } = options;
  const terms: Terms = {
    userId,
    tokens,
    actionType,
    model,
    ttlSeconds,
    idempotencyKey,
    metadata,
    onOverrun,
    parentHold,
    patience: { ...usualPatience, attempts: 8, ...patience },
  };
  return { terms, timeoutMs, graceMs };
}

/** Hands the promise to the platform too, which may otherwise stop this process with the request. */
function finish<Result>(promise: Promise<Result>): Promise<Result> {
  const { EdgeRuntime } = globalThis as { EdgeRuntime?: { waitUntil(it: Promise<unknown>): void } };
  EdgeRuntime?.waitUntil(promise.catch(() => {}));
  return promise;
}

/** Hosted functions are stopped after 400 s: a call must be over, and settled, before that. */
const hostedMs = 270_000;

const most = limits.tokens;

/** Refuses here what SQL would refuse when the call is over and somebody has the answer. */
function checked(usage: Usage): Usage {
  onlyKnown("report", usage, usageFields);
  const { inputTokens, outputTokens, cachedTokens, reasoningTokens, images, seconds, tokens, model } = usage;
  const counts = { inputTokens, outputTokens, cachedTokens, reasoningTokens, tokens, images };
  for (const [name, count] of Object.entries(counts)) {
    const limit = name === "images" ? 1_000_000 : most;
    if (count !== undefined && !(Number.isInteger(count) && count >= 0 && count <= limit)) {
      throw new RangeError(`${name}: a whole number from 0 to ${limit}`);
    }
  }
  if ((cachedTokens ?? 0) > (inputTokens ?? 0)) throw new RangeError("cachedTokens: part of inputTokens");
  if ((reasoningTokens ?? 0) > (outputTokens ?? 0)) {
    throw new RangeError("reasoningTokens: part of outputTokens");
  }
  if (seconds !== undefined && !(seconds >= 0 && seconds <= 1_000_000)) {
    throw new RangeError("seconds: a number from 0 to 1000000");
  }
  if (model !== undefined && !(/\S/.test(model) && storable(model) === model && bytesOf(model) <= 200)) {
    throw new RangeError("model: 1 to 200 bytes, not all blank");
  }
  return { ...usage };
}

const bytesOf = (text: string) => new TextEncoder().encode(text).length;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** The text as Postgres can store it: no NUL, no half characters, at most 2000. */
function storable(text: string): string {
  const short = text.replaceAll("\0", "").slice(0, 2_000);
  return new TextDecoder().decode(new TextEncoder().encode(short));
}
