/** What the books and their edge functions say no with: one class, wherever it was said, made from the one registry. */
import { errors, type ErrorKind, isSlug, type Slug } from "./errors.ts";
import { wireName, wireRule } from "./names.ts";

/** The facts of one occurrence, under the names that they have in requests. docs/errors.md says which error has which. */
export interface Facts {
  /** The field at fault. */
  field?: string;
  /** What the field must be. */
  rule?: string;
  /** The issuer that signed the token, as the token says itself. */
  issuer?: string;
  /** Of `account_moved`: the project that has the books, as its operator calls it. */
  moved_to?: string;
  /** The most that is allowed: bytes of a body, tokens of an account, tokens under a cap. */
  limit?: number;
  /** Tokens that the request needs. */
  required?: number;
  /** Tokens that there are, or that a cap leaves. */
  available?: number;
  /** Whose cap was met. */
  scope?: string;
  /** What the cap counts in: a day, a week or a month. */
  window?: string;
  /** Tokens spent in that window so far. */
  used?: number;
  /** When the window begins anew. */
  resetsAt?: string;
  /** How a payment was decided before. Not `status`: that is the problem's own, and HTTP's. */
  paymentStatus?: string;
  /**
   * How a hold stands: that of the call that was made under the key, `open` or `settled`; or the one that passes nothing
   * on, `captured`, `released`, `expired` or `child`.
   */
  holdStatus?: "open" | "settled" | "captured" | "released" | "expired" | "child";
  /** What a budget was made for. */
  budget?: number;
  /** What calls have of it that run, or paid. */
  passed?: number;
  /** What it has left. */
  left?: number;
  /** What of that pays for such a call. */
  payable?: number;
  /** What was asked of it. */
  needed?: number;
  /** The HTTP status that the AI provider answered with. */
  providerStatus?: number;
  /** When the next period begins. */
  dueAt?: string;
  /** When the user's books opened. */
  openedAt?: string;
  /** The ledger entry that stands in the way. */
  transactionId?: number;
  /** What kind of ledger entry it is. */
  entryType?: string;
  /** The setting that is missing or is not what it must be. */
  setting?: string;
  /** The model that has no price. */
  model?: string;
  /** Why it is not possible, in a word. */
  reason?: string;
  /** The line of a checkpoint at fault. */
  line?: number;
  /** The table that has no such column. */
  table?: string;
  column?: string;
  /** The fields in which a request differs from the one its key stands for; never their values. */
  differs?: string[];
}

/** An error of the data API. */
export interface ApiError {
  /** SQLSTATE, or a PGRST code of the API itself. */
  code: string;
  /** For our refusals the slug. */
  message: string;
  /** For our refusals a JSON object of facts, or null. */
  details: string | null;
  /** What the API itself proposes. */
  hint?: string | null;
}

/** What more there is to say of one occurrence; what is left out is as the registry has it. */
interface Occurrence {
  status?: number | undefined;
  message?: string | undefined;
  retryable?: boolean | undefined;
  cause?: unknown;
}

/**
 * The books said no, could not, or did not answer as often as they were asked.
 *
 * @example
 * ```ts
 * try {
 *   await books.deduct(50);
 * } catch (error) {
 *   if (error instanceof TokenbookError && error.code === "account_frozen") show(error.hint);
 *   else throw error;
 * }
 * ```
 */
export class TokenbookError extends Error {
  override readonly name: string = "TokenbookError";
  /** Which error of docs/errors.md it is; `internal_error` is whatever has no name there. */
  readonly code: Slug;
  /** HTTP status of the answer; 0: there was none. */
  readonly status: number;
  readonly facts: Facts;
  /** Whether the very same request, with the same key, may succeed later. */
  readonly retryable: boolean;
  /** What to do about it, in one sentence. */
  readonly hint: string;

  constructor(code: Slug, facts: Facts = {}, { status, message, retryable, cause }: Occurrence = {}) {
    const kind: ErrorKind = errors[code];
    const { field, rule } = facts;
    const what = field !== undefined && rule !== undefined ? `${field}: ${rule}` : kind.title;
    super(message ?? `${code}: ${what}`, cause === undefined ? {} : { cause });
    this.code = code;
    this.status = status ?? kind.status;
    this.facts = facts;
    this.retryable = retryable ?? kind.retryable;
    this.hint = kind.hint;
  }
}

/** SQLSTATEs of values that do not fit their type: a caller's fault that no field check has caught. */
const unfitValues = ["22P02", "22003", "22P05", "22007", "22008", "22009", "22021"];

/** What a read replica says of a request that may write (a POST), before it reaches a function: 0A000. */
const noWrites = /^cannot set transaction read-write mode during recovery$/;

/** SQLSTATEs of work that was given up for others' sake: a lost race, a deadlock, a lock not got. */
const givenUp = ["40001", "40P01", "55P03"];

/**
 * SQLSTATEs, and codes of the data API, of a database that could not do it now: cancelled or shut down, not
 * reached, out of something, or its schema not loaded yet.
 */
const notNow = /^(57014|57P0\d|08...|53...|PGRST00\d)$/;

/** HTTP statuses of whatever stands before the database, 52x among them; 0 is no answer at all. */
const noAnswer = /^(0|408|425|502|503|504|52\d)$/;

/** What the data API said, as an error of ours. */
export function errorFrom({ code, message, details }: ApiError, status: number): TokenbookError {
  if (isSlug(message) && errors[message].sqlstate === code) {
    return new TokenbookError(message, factsFrom(message, details), { status });
  }
  if (status === 401) return new TokenbookError("not_authenticated", {}, { status });
  if (code === "42501") return new TokenbookError("forbidden", {}, { status });
  if (code === "25006" || noWrites.test(message)) return new TokenbookError("read_only", {}, { status });
  if (unfitValues.includes(code)) return new TokenbookError("invalid_request", {}, { status });
  // never the details: they may hold what users wrote
  const who =
    code !== ""
      ? `SQL ${code}, HTTP ${status}`
      : status > 0
        ? `HTTP ${status}`
        : "no answer of the project's API, HTTP 0";
  const cause = new Error(`${who}: ${message}`);
  const known = givenUp.includes(code)
    ? "busy"
    : notNow.test(code) || noAnswer.test(String(status))
      ? "unavailable"
      : "internal_error";
  return new TokenbookError(
    known,
    {},
    {
      status,
      message: cause.message,
      retryable: known !== "internal_error" || status >= 500 || status === 429,
      cause,
    },
  );
}

/** What a value of a type must be, by how Postgres names the type. */
const rules: [RegExp, string][] = [
  [/type uuid/, "a uuid"],
  [
    /type (bigint|integer|smallint)|out of range for type|is out of range$/,
    "a whole number that is not too large",
  ],
  [/type (numeric|double)/, "a number"],
  [/type boolean/, "true or false"],
  [/type timestamp|date\/time/, "a moment: ISO 8601"],
];

/** Which slug says that a value is none, where there is one for the field. */
const slugs: Record<string, Slug> = {
  userId: "invalid_user_id",
  tokens: "invalid_amount",
  delta: "invalid_amount",
};

/** An argument that JSON has no word for: it would be sent as null, which is to say that it was not given. */
export function unsendable(args: Record<string, unknown>): TokenbookError | undefined {
  for (const [arg, value] of Object.entries(args)) {
    const rule =
      typeof value === "number" && !Number.isFinite(value)
        ? "a number"
        : value instanceof Date && Number.isNaN(value.getTime())
          ? "a moment: ISO 8601"
          : undefined;
    if (rule === undefined) continue;
    const field = wireName(arg);
    return new TokenbookError(slugs[field] ?? "invalid_request", { field, rule });
  }
  return undefined;
}

/** What the data API itself said of a call's arguments, by the name of the one at fault; undefined: nothing of them. */
export function errorOfArgs(
  said: ApiError | TokenbookError,
  name: string,
  args: Record<string, unknown>,
): TokenbookError | undefined {
  if (said instanceof TokenbookError) return undefined;
  const { code, message, hint } = said;
  if (code === "PGRST202") {
    const [, of, list] = /function \w+\.(\w+)\(([^)]*)\)/.exec(hint ?? "") ?? [];
    if (of !== name) return undefined;
    const known = list!.split(", ");
    const given = Object.keys(args).filter((it) => args[it] !== undefined);
    const unknown = given.find((it) => !known.includes(it));
    const field = unknown ?? known.find((it) => !given.includes(it));
    if (field === undefined) return undefined;
    const rule = unknown === undefined ? "must be given" : "not known to this version of the books";
    return new TokenbookError("invalid_request", { field: wireName(field), rule });
  }
  if (!unfitValues.includes(code)) return undefined;
  const [, rule] = rules.find(([type]) => type.test(message)) ?? [];
  const fits = ([, value]: [string, unknown]) =>
    value !== null && value !== "" && message.includes(`"${String(value)}"`);
  const [arg] = Object.entries(args).find(fits) ?? [];
  if (arg === undefined || rule === undefined) return undefined;
  const field = wireName(arg);
  return new TokenbookError(slugs[field] ?? "invalid_request", { field, rule });
}

/** What an edge function said: a problem (RFC 9457), or whatever stands before it. */
export function errorFromProblem(problem: unknown, status: number): TokenbookError {
  const {
    code,
    type: _,
    title: __,
    status: ___,
    detail,
    instance,
    retryable,
    ...facts
  } = (problem ?? {}) as Record<string, unknown>;
  if (typeof code !== "string" || !isSlug(code)) {
    const message = String((problem as { message?: unknown } | undefined)?.message ?? "no answer of ours");
    return errorFrom({ code: "", message, details: null }, status);
  }
  return new TokenbookError(code, facts, {
    status,
    message: typeof detail === "string" ? `${code}: ${detail}` : undefined,
    retryable: retryable === true,
    ...(instance !== undefined && { cause: instance }),
  });
}

/** The facts in an exception's DETAIL. */
function factsFrom(slug: Slug, details: string | null): Facts {
  const status = slug === "parent_hold_ended" ? "holdStatus" : "paymentStatus";
  const said = JSON.parse(details || "{}") as Record<string, unknown>;
  const facts: Facts = Object.fromEntries(
    Object.entries(said).map(([name, value]) => [name === "status" ? status : wireName(name), value]),
  );
  if (facts.field !== undefined) facts.field = wireName(facts.field);
  if (facts.rule !== undefined) facts.rule = wireRule(facts.rule);
  if (facts.differs !== undefined) facts.differs = facts.differs.map(wireName);
  return facts;
}
