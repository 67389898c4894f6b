/** How the client asks: functions and tables of the data API, and edge functions, all by `untilHeard`. */
import type { Database } from "../../../../supabase/functions/_shared/database.types.ts";
import { errorFromProblem, TokenbookError } from "../../../../supabase/functions/_shared/token-error.ts";
import {
  type Answer,
  askedOf,
  type Patience,
  type Question,
  stoppable,
  untilHeard,
  usualPatience,
} from "../../../../supabase/functions/_shared/until-heard.ts";
import { onlyKnown } from "../../../../supabase/functions/_shared/known-options.ts";
import type { Answers, Rows } from "./answers.ts";
import type { CallOptions } from "./options.ts";

/** A client of supabase-js, of a user or of a server, whatever types of a database it has. */
export interface SupabaseLike {
  rpc(name: never, args: never): unknown;
  from(relation: never): unknown;
  readonly functions: { invoke(name: never, options: never): unknown };
  readonly auth: { getSession(): PromiseLike<unknown> };
}

/** The same, as far as it is needed here. */
interface Supabase {
  rpc(name: string, args: Record<string, unknown>, options?: { get: true }): Question;
  from(relation: string): { select(columns: string): Query };
  readonly functions: {
    invoke(
      name: string,
      options: { body?: Record<string, unknown>; method?: "GET"; signal: AbortSignal },
    ): PromiseLike<{ data: unknown; error: InvokeError | null }>;
  };
  readonly auth: {
    getSession(): PromiseLike<{ data: { session: { access_token: string } | null } }>;
  };
  /** Of a project with other sign-ins, whose `auth` is out of reach. */
  readonly accessToken?: () => Promise<string | null>;
}

type Functions = Database["public"]["Functions"];
type Json = NonNullable<Functions["grant_tokens"]["Args"]["p_metadata"]>;
type Moments =
  | "p_at"
  | "p_from"
  | "p_to"
  | "p_expires_at"
  | "p_granted_at"
  | "p_starts_at"
  | "p_valid_from"
  | "p_valid_until";

/**
 * The arguments of a function as `database.types.ts` has them, each of them said: one that the client does not offer
 * is an error of the compiler. Of JSON it may be any object, of a moment a Date, and null is left to SQL.
 */
export type ArgsOf<Name extends keyof Answers> = {
  [Arg in keyof Required<Functions[Name]["Args"]>]:
    | ValueOf<Arg, NonNullable<Functions[Name]["Args"][Arg]>>
    | Extract<Functions[Name]["Args"][Arg], undefined>
    | null;
};

type ValueOf<Arg, Type> = Json extends Type ? unknown : Type | (Arg extends Moments ? Date : never);

/** A read of a table, as supabase-js has it. */
export interface Query extends Question {
  eq(column: string, value: unknown): Query;
  lt(column: string, value: unknown): Query;
  gt(column: string, value: unknown): Query;
  ilike(column: string, pattern: string): Query;
  order(column: string, options: { ascending: boolean }): Query;
  limit(count: number): Query;
}

/** From version 2.100 or so on supabase-js repeats reads by itself; how often they are asked, `Patience` says. */
function alone(read: Question & { retry?(enabled: boolean): Question }): Question {
  return read.retry?.(false) ?? read;
}

/** What an edge function's error has in supabase-js: the answer, if there was one. */
interface InvokeError {
  message: string;
  context?: unknown;
}

/** Of a call's options who waits for it; the others have been read when it is asked, or there are none of that name. */
type Waiting = Pick<CallOptions, "signal">;

export interface Asking {
  call<Name extends keyof Answers>(name: Name, args: ArgsOf<Name>, options: Waiting): Promise<Answers[Name]>;
  rows<Table extends keyof Rows>(
    table: Table,
    narrow: (all: Query) => Query,
    options: Waiting,
  ): Promise<Rows[Table][]>;
  invoke<Result>(name: string, body: Record<string, unknown>, options: Waiting): Promise<Result>;
  /** What an edge function answers to a GET. */
  read<Result>(name: string, query: Record<string, string>, options: Waiting): Promise<Result>;
  /** Whom a call is about that has to name them. */
  userOf(options: CallOptions): Promise<string>;
}

/**
 * Functions that say what was: a read replica is asked for them, where there is one. What is asked in order to decide
 * (`can_spend_tokens`, `estimate_tokens`, `check_token_trial`) is asked where it is decided.
 */
export const shown: ReadonlySet<keyof Answers> = new Set([
  "get_user_token_balance",
  "get_token_history",
  "get_token_balance_as_of",
  "explain_token_charge",
  "get_token_spend_caps",
  "has_token_plan",
  "list_upcoming_token_grants",
  "list_token_team_members",
  "get_user_storage_quota",
  "get_token_usage_by",
  "get_token_revenue",
]);

/** By GET, which is all that a replica's API answers. In an address null is a word: such an argument is left out. */
function byGet(reads: Supabase): Pick<Supabase, "rpc"> {
  return {
    rpc(name, args) {
      const said = Object.entries(args).filter(([, value]) => value !== undefined && value !== null);
      const texts = said.map(([arg, value]) => [arg, value instanceof Date ? value.toISOString() : value]);
      return alone(reads.rpc(name, Object.fromEntries(texts) as typeof args, { get: true }));
    },
  };
}

/**
 * @param bound the user whom calls are about that do not say it
 * @param reads of a read replica; what it cannot answer is asked of the first one
 * @param ofReplica what the replica is asked for. An admin's list is not here: users are not given its names
 */
export function asking(
  client: SupabaseLike,
  bound: string | undefined,
  patience: Patience,
  reads?: SupabaseLike,
  ofReplica: ReadonlySet<keyof Answers> = shown,
): Asking {
  const supabase = client as Supabase;
  const replica = reads as Supabase | undefined;
  onlyKnown("patience", patience, usualPatience);
  const patient = { ...usualPatience, ...patience };
  const heard = <Result>(ask: (signal: AbortSignal) => PromiseLike<Answer>, signal?: AbortSignal) =>
    untilHeard<Result>(ask, patient, signal);

  const call: Asking["call"] = async (name, args, options) => {
    const { signal } = options;
    refuseUnread(options);
    if (replica !== undefined && ofReplica.has(name)) {
      try {
        return await heard(askedOf(byGet(replica), name, args), signal);
      } catch (error) {
        if (!(error instanceof TokenbookError && error.code === "read_only")) throw error;
      }
    }
    return await heard(askedOf(supabase, name, args), signal);
  };

  return {
    call,

    async rows(table, narrow, options) {
      const { signal } = options;
      const asked = replica ?? supabase;
      narrow(asked.from(table).select("*")); // reads the options
      refuseUnread(options);
      return await heard((stop) => {
        return stoppable(alone(narrow(asked.from(table).select("*"))), stop);
      }, signal);
    },

    async invoke(name, body, options) {
      const { signal } = options;
      refuseUnread(options);
      return await heard(
        (stop) =>
          supabase.functions
            .invoke(name, { body, signal: stop })
            .then(({ data, error }) => (error === null ? { data, error, status: 200 } : answerOf(error))),
        signal,
      );
    },

    async read(name, query, options) {
      const { signal } = options;
      refuseUnread(options);
      return await heard(async (stop) => {
        const path = `${name}?${new URLSearchParams(query)}`;
        const { data, error } = await supabase.functions.invoke(path, { method: "GET", signal: stop });
        return error === null ? { data, error, status: 200 } : await answerOf(error);
      }, signal);
    },

    async userOf(options) {
      const { userId = bound, signal } = options;
      if (userId !== undefined) return userId;
      const id = subjectOf(await tokenOf(supabase));
      if (id !== undefined) return id;
      // a header says who they are, or they sign in elsewhere: the books know
      return (await call("get_user_token_balance", { p_user_id: undefined }, { signal })).user_id;
    },
  };
}

/** What has been read of options that a caller gave. */
interface Reading {
  where: string;
  given: object;
  read: Record<string, true>;
}

const readings = new WeakMap<object, Reading>();

/**
 * The client with each of its calls noting which options it reads, so that what it knows is written once: where the
 * call maps it to a parameter.
 */
export function noting<Books extends object>(books: Books, within = ""): Books {
  return Object.fromEntries(
    Object.entries(books).map(([name, it]) => {
      const where = within + name;
      if (typeof it !== "function") return [name, noting(it as object, `${where}.`)];
      return [name, (...args: unknown[]) => (it as Call)(...args.map((arg) => noted(arg, where)))];
    }),
  ) as Books;
}

type Call = (...args: unknown[]) => unknown;

function noted(given: unknown, where: string): unknown {
  if (typeof given !== "object" || given === null) return given;
  const kind: unknown = Object.getPrototypeOf(given);
  if (kind !== Object.prototype && kind !== null) return given; // a Date, a list
  const read: Record<string, true> = {};
  const options = new Proxy(given, {
    get(target, name) {
      if (typeof name === "string") read[name] = true;
      return Reflect.get(target, name) as unknown;
    },
  });
  readings.set(options, { where, given, read });
  return options;
}

/** @throws TypeError when there is an option that the call has not looked at */
function refuseUnread(options: object): void {
  const reading = readings.get(options);
  if (reading !== undefined) onlyKnown(reading.where, reading.given, reading.read);
}

async function answerOf({ message, context }: InvokeError): Promise<Answer> {
  if (!(context instanceof Response)) {
    return { data: null, error: { code: "", message, details: null }, status: 0 };
  }
  const { status, headers } = context;
  const text = await context.text();
  const said = /[/+]json/.test(headers.get("content-type") ?? "") ? JSON.parse(text) : { message: text };
  const seconds = Number(headers.get("retry-after"));
  return {
    data: null,
    error: errorFromProblem(said, status),
    status,
    retryAfterMs: seconds > 0 ? seconds * 1_000 : undefined,
  };
}

/** The token that the client sends, where it says so. */
async function tokenOf(supabase: Supabase): Promise<string | null> {
  if (supabase.accessToken !== undefined) return await supabase.accessToken();
  return (await supabase.auth.getSession()).data.session?.access_token ?? null;
}

/** Whose token it is, if that is a user of Supabase's. Nothing is verified here: the books do. */
function subjectOf(token: string | null): string | undefined {
  const payload = token?.split(".")[1];
  if (payload === undefined) return undefined;
  const { sub } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as { sub?: unknown };
  return typeof sub === "string" && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(sub) ? sub : undefined;
}
