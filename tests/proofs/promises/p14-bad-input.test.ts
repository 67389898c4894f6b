// @module-tag proof
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { httpStatus, isDatabaseError } from "local-platform/rest/errors";
import { errors, isSlug } from "../../../supabase/functions/_shared/errors.ts";
import { problemFaults } from "../../functions/problem.ts";
import { startStack, type Stack } from "../../functions/stack.ts";
import { setEndpoint } from "../../functions/deliver-webhooks/webhooks.ts";
import { startStandIn } from "../../functions/stand-in.ts";
import {
  type ApiFunction,
  apiFunctions,
  badBody,
  badCall,
  type Known,
  nested,
  noJson,
} from "../../support/bad-input.ts";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { digestQuery } from "../../support/digest.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { keep, type Tried } from "./promise.ts";
import { projectRoot } from "../../../scripts/project.ts";

keep({
  id: "P14",
  promise: "Bad input gets a registered answer, and changes nothing",
  trial:
    "Generated arguments for every function in the catalogue, over SQL and over HTTP, and bodies, headers and queries for every edge function: wrong types, sizes and encodings, arrays, CSV and forms, JSON bombs, no JSON. Every refusal is registered, none is a server error or tells of our insides, and what is refused has changed no row but the count of codes tried in vain",
  run: async (scale) => {
    const [calls, requests] = scale === "long" ? [7_000, 3_000] : [900, 150];
    const overSql = await trySql(calls, null);
    const overHttp = await tryHttp(requests);
    return {
      times: overSql.times + overHttp.times,
      unit: `inputs (seed ${seed})`,
      mix: { ...overSql.mix, ...overHttp.mix },
      violations: overSql.violations + overHttp.violations,
      examples: [...overSql.examples!, ...overHttp.examples!],
    };
  },
  control: {
    variant: "the length of a key is not looked at",
    run: () => trySql(4_000, "keys-of-any-length", "deduct_tokens_with_fifo"),
  },
});

/** SQLSTATEs that Postgres may say itself: a value that its type does not take, a right that is missing, a change over GET. */
const native = ["22P02", "22003", "22P05", "22007", "22008", "22009", "22021", "42501", "25006"];

/** What a message may not tell: how the books are built. */
const insides = /relation|constraint|column|schema|tokenbook\.|public\.|PL\/pgSQL|stack depth|index/i;

/** What is wrong with a refusal, if anything. */
function faultOf(
  code: string,
  message: string,
  detail: string | null | undefined,
  status: number,
): string | undefined {
  const said = `${code} ${message.slice(0, 120)}`;
  if (status >= 500) return `HTTP ${status}: ${said}`;
  if (isSlug(message)) return errors[message].sqlstate === code ? undefined : `another SQLSTATE: ${said}`;
  // PostgREST's own statement, of a body that is no object where `?columns=` keeps it from looking
  if (code === "22023" && message.startsWith("cannot call populate_composite on a scalar")) return undefined;
  // Postgres' of a moment in a zone that there is not
  if (code === "22023" && /^time zone "[^"]*" not recognized$/.test(message)) return undefined;
  if (!native.includes(code)) return `not registered: ${said}`;
  // what was sent stands in quotes; only the rest is ours
  const rest = `${message} ${detail ?? ""}`.replace(/"[^]*"/g, "");
  return insides.test(rest) ? `tells: ${said}` : undefined;
}

/** What a refusal does change, and has to: or codes could be guessed for nothing. */
const counts = ["tokenbook.code_attempts"];

class Tally {
  times = 0;
  readonly mix: Record<string, number> = {};
  readonly wrong: string[] = [];

  count(outcome: string): void {
    this.times++;
    this.mix[outcome] = (this.mix[outcome] ?? 0) + 1;
  }

  tried(unit: string): Tried {
    const { times, mix, wrong } = this;
    return { times, unit, mix, violations: wrong.length, examples: [...new Set(wrong)].slice(0, 5) };
  }
}

/** Each call in a transaction that is taken back, so that one that is right by accident does no harm. */
async function trySql(calls: number, mutant: string | null, only?: string): Promise<Tried> {
  const db = await createDatabase();
  const tally = new Tally();
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    const known = await somebody(db);
    const functions = (await apiFunctions(db)).filter(
      ({ name, parameters }) => parameters.length > 0 && (only === undefined || name === only),
    );
    const digest = await digestQuery(db.admin, counts);
    const before = (await db.admin.query(digest)).rows[0].digest as string;
    const seen = new Set<string>();
    await Promise.all(
      [0, 1, 2, 3].map(async (lane) => {
        const dice = new Dice(seed + lane);
        const client = await db.admin.connect();
        try {
          for (let nth = lane; nth < calls; nth += 4) {
            const fn = functions[nth % functions.length]!;
            seen.add(fn.name);
            await callOnce(client, fn, known, dice, digest, before, tally);
          }
        } finally {
          client.release();
        }
      }),
    );
    if (calls >= functions.length && seen.size < functions.length)
      tally.wrong.push("not every function was tried");
    const after = (await db.admin.query(digest)).rows[0].digest as string;
    if (after !== before) tally.wrong.push("the books have changed");
    tally.mix["functions"] = functions.length;
    return tally.tried("calls");
  } finally {
    await db.drop();
  }
}

type Who = "server" | "admin" | "user" | "stranger" | "anon";

const roles: readonly [role: string, who: Who][] = [
  ["service_role", "server"],
  ["service_role", "server"],
  ["service_role", "server"],
  ["service_role", "server"],
  ["authenticated", "admin"],
  ["authenticated", "admin"],
  ["authenticated", "user"],
  ["authenticated", "user"],
  ["authenticated", "stranger"],
  ["anon", "anon"],
];

function claimsOf(who: Who, { user, others, admin }: Somebody): object {
  if (who === "user") return { sub: user };
  if (who === "stranger") return { sub: others[0] };
  return who === "admin" ? { sub: admin, app_metadata: { role: "admin" } } : {};
}

async function callOnce(
  client: pg.PoolClient,
  fn: ApiFunction,
  known: Somebody,
  dice: Dice,
  digest: string,
  before: string,
  tally: Tally,
): Promise<void> {
  const [role, who] = dice.any(roles);
  const { json, names } = badCall(fn, known, dice);
  const shown = `${who}: ${fn.name}(${json.slice(0, 160)})`;
  await client.query("begin");
  try {
    await client.query(
      "select set_config('request.jwt.claims', $2, true), set_config('statement_timeout', '8s', true), set_config('role', $1, true)",
      [role, JSON.stringify({ role, ...claimsOf(who, known) })],
    );
    const answer = await rpcOfJson(client, fn, names, json);
    const isRefused = answer?.success === false;
    tally.count(isRefused ? "SQL: success false" : "SQL: accepted");
    if (isRefused && !isRecorded(answer)) {
      await client.query("reset role");
      const { rows } = await client.query(digest);
      if (rows[0].digest !== before) tally.wrong.push(`success false, and something changed: ${shown}`);
    }
  } catch (error) {
    if (!isDatabaseError(error)) throw error;
    const { code, message, detail } = error;
    const { where } = error as { where?: string };
    tally.count(`SQL: ${isSlug(message) ? message : code}`);
    const fault =
      faultOf(code, message, detail, httpStatus(error, role === "anon")) ??
      // a function that runs into what it did not look at; Postgres refuses what an argument's type does not take before
      (code.startsWith("22") && where?.includes("PL/pgSQL function tokenbook.")
        ? `not looked at: ${code} ${message.slice(0, 120)}`
        : undefined);
    if (fault !== undefined) tally.wrong.push(`${fault}: ${shown}`);
  } finally {
    await client.query("rollback");
  }
}

/** A batch says of each item what came of it; the others may have been booked. */
function isRecorded(answer: Record<string, unknown>): boolean {
  return Array.isArray(answer["results"]);
}

/** As PostgREST calls it. */
async function rpcOfJson(
  client: pg.ClientBase,
  fn: ApiFunction,
  names: string[],
  json: string,
): Promise<Record<string, unknown> | null> {
  const given = fn.parameters.filter(({ name }) => names.includes(name));
  const columns = given.map(({ name, type }) => `"${name}" ${type}`).join(", ");
  const args = given.map(({ name }) => `"${name}" => a."${name}"`).join(", ");
  const { rows } = await client.query(
    `select to_json(f) as value from json_to_record($1::text::json) as a (${columns}), lateral public."${fn.name}"(${args}) as f`,
    [json],
  );
  return rows[0]?.value ?? null;
}

interface Somebody extends Known {
  admin: string;
}

/** A user who has a little of everything, and the ids of it. */
async function somebody(db: Database): Promise<Somebody> {
  const [user, other] = [await createUser(db), await createUser(db)];
  const admin = await createUser(db, { admin: true });
  const ids = [await grant(db, user, 1_000), await grant(db, other, 1_000)];
  await grant(db, admin, 1_000); // an account: the first try of a code makes one, as there has to be something to lock
  const { rows } = await db.admin.query(
    `select public.reserve_tokens($1, 5) ->> 'hold_id' as hold,
            public.deduct_tokens_with_fifo($1, 7) ->> 'transaction_id' as charge,
            public.create_token_payment($1, 'starter') ->> 'payment_id' as payment`,
    [user],
  );
  ids.push(rows[0].hold as string, rows[0].payment as string);
  return { user, admin, others: [other, "00000000-0000-4000-8000-00000000dead"], ids };
}

const stripeSecret = "whsec_of_the_trial_of_bad_input";
const stripeKey = "sk_test_of_the_trial_of_bad_input";

/** Whole requests, to the data API and to the edge functions. What is refused has changed nothing. */
async function tryHttp(requests: number): Promise<Tried> {
  const dice = new Dice(seed);
  const tally = new Tally();
  // A provider of models and of signatures that believes nobody.
  const provider = await startStandIn(({ path }) =>
    path === "/v1/oauth2/token"
      ? { body: { access_token: "of-the-trial", expires_in: 3_600 } }
      : { status: 400, body: {} },
  );
  const stack = await startStack({
    AI_BASE_URL: provider.url,
    STRIPE_WEBHOOK_SECRET: stripeSecret,
    STRIPE_SECRET_KEY: stripeKey,
    STRIPE_API_BASE: provider.url,
    PAYPAL_API_BASE: provider.url,
    PAYPAL_WEBHOOK_ID: "WH-1",
    PAYPAL_CLIENT_ID: "client",
    PAYPAL_CLIENT_SECRET: "paypal-secret-of-the-trial",
    TOKEN_WEBHOOK_SECRET_APP: `whsec_${Buffer.from("of the trial of bad input, in bytes").toString("base64")}`,
  });
  try {
    await setEndpoint(stack.db, "app", `${provider.url}/tokens`);
    const known = await somebody(stack.db);
    const functions = await apiFunctions(stack.db);
    const edge = edgeFunctions();
    const digest = await digestQuery(stack.db.admin, counts);
    const look = async () => (await stack.db.admin.query(digest)).rows[0].digest as string;
    const callers = await whoAsks(stack, known);
    let before = await look();
    for (let nth = 0; nth < requests; nth++) {
      const request =
        nth % 3 === 0
          ? edgeRequest(edge[(nth / 3) % edge.length]!, known, dice)
          : rpcRequest(functions[nth % functions.length]!, known, dice);
      const who = dice.any(Object.keys(callers));
      const answer = await send(stack, request, callers[who]!);
      const shown = `${who}: ${request.method} ${request.path} ${String(request.body ?? "").slice(0, 160)}`;
      const after = await look();
      const { code, message } = answer.body ?? {};
      const slug = isSlug(String(message)) ? message : (code ?? message);
      const refused = answer.status >= 400;
      const where = request.path.startsWith("/functions/") ? "edge" : "API";
      tally.count(`${where}: ${refused ? (slug ?? answer.status) : "accepted"}`);
      // a call that got as far as the AI provider was recorded as one that failed
      if (refused && slug !== "provider_refused" && after !== before) {
        tally.wrong.push(`refused with ${slug}, and something changed: ${shown}`);
      }
      // What SQL can see of a body that is not one object, it refuses; `null` and `[]` count as {}.
      if (!refused && where === "API" && after !== before && isNoObject(request)) {
        tally.wrong.push(`not one JSON object, and something changed: ${shown}`);
      }
      before = after;
      if (!refused) continue;
      const faults = where === "edge" ? problemFaults(answer) : apiFaults(request, answer);
      if (answer.status >= 500) faults.push(`HTTP ${answer.status}: ${answer.text.slice(0, 160)}`);
      tally.wrong.push(...faults.map((fault) => `${fault}: ${shown}`));
    }
    const secrets = [stack.keys.secretKey, stripeSecret, stripeKey, "paypal-secret-of-the-trial"];
    const told = secrets.filter((secret) => stack.log.some((line) => line.includes(secret)));
    tally.wrong.push(...told.map(() => "a secret is in the log"));
    tally.mix["edge functions"] = edge.length;
    return tally.tried("requests");
  } finally {
    await stack.close();
    await provider.close();
  }
}

/** Whether a call's body is rows or no JSON at all, of which PostgREST makes a call nevertheless. */
function isNoObject({ method, headers, body }: Sent): boolean {
  if (method !== "POST" || typeof body !== "string") return false;
  const type = headers["content-type"] ?? "application/json";
  return !type.startsWith("application/json") || (body.trimStart().startsWith("[") && body.trim() !== "[]");
}

/** What is wrong with a refusal of the data API. */
function apiFaults({ path }: Sent, { status, body, text }: Awaited<ReturnType<typeof send>>): string[] {
  const { code, message, details } = body ?? {};
  if (status === 413 && message === "Request size limit exceeded") return []; // the gateway's, not ours
  if (typeof message !== "string") return [`no error of the API: HTTP ${status} ${text.slice(0, 120)}`];
  if (code === undefined && status === 401) return []; // the gateway's too
  if (/^PGRST\d{3}$/.test(code)) return [];
  // A column of the answer that was asked for by `select`, `order` or a filter: the caller's word, and a public name.
  if (code === "42703" && /^column \w+\.\w+ does not exist$/.test(message)) {
    return /[?&](select|order|or)=/.test(path) ? [] : [`not asked for: ${message}`];
  }
  const fault = faultOf(code, message, details, status);
  return fault === undefined ? [] : [fault];
}

async function whoAsks(stack: Stack, known: Known): Promise<Record<string, Record<string, string>>> {
  const { keys } = stack;
  const bearer = async (id: string) => ({
    apikey: keys.publishableKey,
    authorization: `Bearer ${await stack.token(id)}`,
  });
  const admin = await stack.user({ admin: true });
  await grant(stack.db, admin.id, 1_000); // an account, as somebody's admin has one
  return {
    "the server": stack.server.headers,
    "an admin": admin.headers,
    "the user": await bearer(known.user),
    another: await bearer(known.others[0]!),
    nobody: { apikey: keys.publishableKey },
  };
}

interface Sent {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string | Uint8Array;
}

interface EdgeFunction {
  name: string;
  methods: string[];
  fields: string[];
}

/** Each edge function, its methods and the fields that its source names: of a new one too. */
function edgeFunctions(): EdgeFunction[] {
  const root = join(projectRoot, "supabase/functions");
  const folders = readdirSync(root, { withFileTypes: true }).filter(
    (it) => it.isDirectory() && it.name !== "_shared",
  );
  return folders.map(({ name }) => {
    const source = readdirSync(join(root, name))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(join(root, name, file), "utf8"))
      .join("\n");
    const fields = source.matchAll(
      /\b([a-oq-z]\w*): (?:z\.|uuid|integer|text|moment|jsonObject|small|limit\b)/g,
    );
    return {
      name,
      methods: ["GET", "POST"].filter((method) => source.includes(`${method}: gate(`)),
      fields: [...new Set([...fields].map(([, field]) => field!))],
    };
  });
}

/** Headers that a client has no business to send, or that mean something to somebody on the way. */
const oddHeaders: readonly Record<string, string>[] = [
  { "content-type": "text/plain" },
  { "content-type": "text/csv" },
  { "content-type": "application/x-www-form-urlencoded" },
  { "content-type": "application/octet-stream" },
  { "content-type": "application/json; charset=utf-16" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "content-encoding": "gzip" },
  { "idempotency-key": "two words" },
  { "idempotency-key": "k".repeat(300) },
  { "idempotency-key": '"' },
  { prefer: "tx=rollback, params=single-object, count=exact, handling=strict" },
  { "content-profile": "tokenbook", "accept-profile": "auth" },
  { accept: "text/csv" },
  { accept: "application/vnd.pgrst.plan+json" },
  { range: "0-1000000000" },
  { "x-http-method-override": "DELETE", "x-forwarded-for": "'; --", "x-client-info": "x".repeat(4_000) },
  { origin: "null", referer: "https://example.com/?a=%00" },
];

const oddQueries = [
  "select=*",
  "select=secret",
  "limit=1",
  "limit=-1",
  "columns=p_user_id",
  "or=(a.eq.1,b.eq.2)",
  "or=",
  "select=",
  "order=id.desc",
  "userId=1&userId=2",
  "%00=1",
  "a=%FF",
  "userId=%u0000",
  "limit=1e3",
  "before=99999999999999999999",
  "user_id=",
  `a=${"x".repeat(4e3)}`,
  "__proto__[a]=1",
  "userId[]=1",
];

function rpcRequest(fn: ApiFunction, known: Known, dice: Dice): Sent {
  const path = `/rest/v1/rpc/${fn.name}`;
  const base = { "content-type": "application/json" };
  const headers = dice.chance(0.2) ? { ...base, ...dice.any(oddHeaders) } : base;
  const query = dice.chance(0.1) ? `?${dice.any(oddQueries)}` : "";
  if (dice.chance(0.1)) return { method: "POST", path: path + query, headers, body: raw(dice) };
  if (fn.parameters.length === 0) return { method: "POST", path: path + query, headers, body: `{"x":1}` };
  const { json } = badCall(fn, known, dice);
  if (dice.chance(0.1)) return { method: "POST", path: path + query, headers, body: asRows(json, fn, dice) };
  if (dice.chance(0.15)) {
    const given = readable(json).map(
      ([name, value]) => `${name}=${encodeURIComponent(value).slice(0, 3_000)}`,
    );
    return {
      method: dice.any(["GET", "GET", "PATCH", "PUT", "DELETE"]),
      path: `${path}?${given.join("&")}`,
      headers: {},
    };
  }
  return { method: "POST", path: path + query, headers, body: json };
}

/** The same arguments as PostgREST takes rows: of the first it makes a call, and the others it drops. */
function asRows(json: string, { parameters }: ApiFunction, dice: Dice): string {
  return dice.any([
    () => `[${json},${json}]`,
    () => `[${json}]`,
    () => `\ufeff${json}`,
    () => "null",
    () => "[]",
    () => `${parameters.map(({ name }) => name).join(",")}\n${parameters.map(() => "1").join(",")}`,
    () => `{"p_metadata":${nested(20_000)}}`,
  ])();
}

function edgeRequest({ name, methods, fields }: EdgeFunction, known: Known, dice: Dice): Sent {
  const path = `/functions/v1/${name}`;
  const method = dice.chance(0.95) ? dice.any(methods) : dice.any(["PUT", "PATCH", "DELETE", "GET", "POST"]);
  const body = fields.length === 0 ? "{}" : badBody(fields, known, dice);
  const headers = dice.chance(0.25) ? dice.any(oddHeaders) : {};
  if (method === "GET") {
    const given = readable(body).map(
      ([field, value]) => `${field}=${encodeURIComponent(value).slice(0, 3_000)}`,
    );
    return { method, path: `${path}?${dice.chance(0.4) ? dice.any(oddQueries) : given.join("&")}`, headers };
  }
  const signatures = ["t=1,v1=0", "", "t=,v1=", "x".repeat(9_000)];
  const transmission = ["auth-algo", "cert-url", "transmission-id", "transmission-sig", "transmission-time"];
  return {
    method,
    path: path + (dice.chance(0.1) ? `?${dice.any(oddQueries)}` : ""),
    headers: {
      "content-type": "application/json",
      ...headers,
      ...(name.includes("webhook") && {
        "stripe-signature": dice.any(signatures),
        ...Object.fromEntries(
          transmission.map((it) => [`paypal-${it}`, dice.any(["x", "https://example.com", "0"])]),
        ),
      }),
    },
    body: dice.chance(0.15) ? raw(dice) : body,
  };
}

/** Bytes that are no text, and texts that are no JSON. */
function raw(dice: Dice): string | Uint8Array {
  return dice.any<() => string | Uint8Array>([
    () => noJson(dice),
    () => noJson(dice),
    () => new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]),
    () => new Uint8Array([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), // {"\xc3(":1}
    () => new Uint8Array([0x1f, 0x8b, 0x08, 0x00, 0x00]),
    () => `{"reason":"${"x".repeat(70_000)}"}`,
    () => `{"reason":"${"x".repeat(1_100_000)}"}`,
  ])();
}

/** The members of a body as texts; none when nobody could read it. */
function readable(json: string): [string, string][] {
  try {
    const body = JSON.parse(json) as Record<string, unknown>;
    if (typeof body !== "object" || body === null || Array.isArray(body)) return [];
    return Object.entries(body).map(([name, value]) => [
      encodeURIComponent(name),
      // half a character cannot be sent in a query
      (typeof value === "string" ? value : JSON.stringify(value)).replace(/\p{Surrogate}/gu, "?"),
    ]);
  } catch {
    return [];
  }
}

async function send(stack: Stack, { method, path, headers, body }: Sent, caller: Record<string, string>) {
  const isRead = method === "GET";
  const response = await fetch(`${stack.url}${path}`, {
    method,
    headers: { ...headers, ...caller },
    ...(body !== undefined && !isRead && { body: body as string }),
  });
  const text = await response.text();
  const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "");
  let parsed;
  try {
    parsed = isJson && text !== "" ? JSON.parse(text) : undefined;
  } catch {
    parsed = undefined;
  }
  return { status: response.status, headers: response.headers, text, body: parsed };
}
