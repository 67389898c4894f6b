/** Where balances come from: each source is a stream of rows of one form. */
import { createReadStream } from "node:fs";
import { parse } from "csv-parse";
import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { Stripe } from "stripe";
import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { asSource, noColumn, readSource, type Source } from "../install/uses.ts";
import { dumpRows } from "./mysql-dump.ts";

/** A row of a source. */
export interface SourceRow {
  /** Whose: an id of auth.users, an address, or an id of the other system's. */
  user: string | null;
  /** The other system's id, where `user` is an address: a mapping may know either. */
  otherId?: string | null;
  /** As it is written there; null: none. */
  amount: string | null;
  /** Of a grant; left out, the import's own. */
  grantType?: string | null;
  grantedAt?: string | null;
  /** `infinity`: never. */
  expiresAt?: string | null;
  /** Over a lifetime, where the source knows. */
  used?: string | null;
  /** In cents. */
  cost?: string | null;
  /** Why it is not taken, where the source is known to be wrong there. */
  fault?: string | undefined;
  /** Where in a file it is, for people. */
  where?: string | undefined;
}

/** Rows, and what the source is called in the ledger. */
export interface OpenSource {
  name: string;
  rows: AsyncIterable<SourceRow>;
  /** What is to be said of how it was read. */
  notes: string[];
}

const { escapeIdentifier } = pg;

type Named = Record<string, string | null | undefined>;

/** A query of the same database, as rows of texts. */
async function* query(client: pg.Client, sql: string): AsyncGenerator<Named> {
  const copy = client.query(copyTo(`copy (${sql}) to stdout with (format csv, header)`));
  // what is no text at all is written as nothing; a text that is empty, in quotation marks
  const cast = (text: string, { quoting }: { quoting: boolean }) => (text === "" && !quoting ? null : text);
  const parser = copy.pipe(parse({ columns: true, cast }));
  copy.on("error", (error) => parser.destroy(error));
  yield* parser as AsyncIterable<Named>;
}

async function* mapped<T>(rows: AsyncIterable<T>, of: (row: T) => SourceRow): AsyncGenerator<SourceRow> {
  for await (const row of rows) yield of(row);
}

const columnsOf = async (client: SqlClient, schema: string, table: string): Promise<string[]> =>
  (
    await select<{ name: string }>(
      client,
      `select a.attname::text as name from pg_attribute a
        where a.attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and a.attnum > 0 and not a.attisdropped`,
      [schema, table],
    )
  ).map(({ name }) => name);

/** As it is called, of a domain what it is made of. */
async function typeOf(client: SqlClient, { schema, table, column }: Source): Promise<string> {
  const [row] = await select<{ type: string }>(
    client,
    `with recursive types as (
       select a.atttypid as type from pg_attribute a
        where a.attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and a.attname = $3 and not a.attisdropped
       union all
       select t.typbasetype from types s join pg_type t on t.oid = s.type and t.typtype = 'd')
     select format_type(s.type, null) as type from types s join pg_type t on t.oid = s.type and t.typtype <> 'd'`,
    [schema, table, column],
  );
  return row!.type;
}

/** Names that say that a row is of the user in that column, and names that say that it is of somebody else. */
const ofTheUser = /^(app_|auth_)?(user|owner|member|customer|profile|account|holder|uid)(_?(id|uid|uuid))?$/i;
const ofAnother = /_by(_id)?$|^(creator|inviter|referrer|author|parent|manager)/i;

/**
 * The column that says whose a row is: `userColumn`; left out, the one that could: `user_id`, or what refers to auth.users
 * (who made or invited may, too), or `id`, unless another's name says that it is the user.
 *
 * @throws Failure when there is no such column, nothing says it, or several columns may be meant.
 */
export async function userColumnOf(
  client: SqlClient,
  { schema, table, column }: Source,
  userColumn: string | undefined,
): Promise<string> {
  const columns = await columnsOf(client, schema, table);
  if (!columns.includes(column)) throw await noColumn(client, { schema, table, column });
  const relation = asSource({ schema, table });
  if (userColumn !== undefined && !columns.includes(userColumn)) {
    throw await noColumn(client, { schema, table, column: userColumn });
  }
  if (userColumn !== undefined) return userColumn;
  const referring = await select<{ name: string }>(
    client,
    `select distinct a.attname::text as name
       from pg_constraint k
       join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
      where k.conrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and k.contype = 'f' and cardinality(k.conkey) = 1
        and k.confrelid = 'auth.users'::regclass
      order by 1`,
    [schema, table],
  );
  const candidates = new Set(referring.map(({ name }) => name));
  if (columns.includes("user_id")) candidates.add("user_id");
  if (columns.includes("id") && ![...candidates].some((name) => ofTheUser.test(name))) candidates.add("id");
  const [only, ...others] = candidates;
  if (only === undefined) {
    throw new Failure(`Nothing says whose a row of ${relation} is: name the column, --user-column <column>.`);
  }
  if (others.length > 0 || ofAnother.test(only)) {
    throw new Failure(
      `Whose a row of ${relation} is, ${others.length > 0 ? "several columns may say" : "one column may say, and its name speaks of somebody else"}: ${[...candidates].join(", ")}. Name it: --user-column <column>.`,
    );
  }
  return only;
}

/**
 * A column of any table.
 *
 * @throws Failure when there is no such column, or nothing says whose a row is.
 */
export async function fromColumn(
  client: pg.Client,
  source: Source,
  userColumn: string | undefined,
): Promise<OpenSource> {
  const { schema, table, column } = source;
  const user = await userColumnOf(client, source, userColumn);
  const type = await typeOf(client, source);
  const asNumber = `a view that says it as one (${escapeIdentifier(column)}::numeric) can be imported`;
  // their ones and noughts would be read as digits
  if (type.startsWith("bit"))
    throw new Failure(
      `${asSource(source)} is ${type}, and no number: ${asNumber.replace("numeric", "integer")}.`,
    );
  return {
    name: asSource(source),
    notes: [
      `whose a row is: ${asSource({ schema, table, column: user })}`,
      ...(type === "money" ? [`${asSource(source)} is money, and no number: ${asNumber}`] : []),
    ],
    rows: mapped(
      query(
        client,
        `select ${escapeIdentifier(user)}::text as "user", ${escapeIdentifier(column)}::text as amount from ${escapeIdentifier(schema)}.${escapeIdentifier(table)}`,
      ),
      (row) => ({ user: row["user"] ?? null, amount: row["amount"] ?? null }),
    ),
  };
}

/** Where November 2025's `user_profiles` has what is left. */
export const userProfiles: Source = {
  schema: "public",
  table: "user_profiles",
  column: "vibe_assistant_tokens_remaining",
};

/** Where `--from token_balances` or `token_balances=<table>` reads; undefined, when it is another source. */
export function readGrantsTable(from: string): Source | undefined {
  const match = /^token_balances(?:=(.+))?$/.exec(from);
  return match ? readSource(`${match[1] ?? "token_balances"}.tokens_remaining`) : undefined;
}

/**
 * The column of this database that a source reads; undefined, when it is a file, or Stripe.
 *
 * @throws Failure when it is no source.
 */
export function columnOfSource(from: string): Source | undefined {
  if (["csv", "stripe-credits", "mysql-dump"].includes(from)) return undefined;
  if (from === "user_profiles") return userProfiles;
  return readGrantsTable(from) ?? readSource(from);
}

/** The counters of November 2025's `user_profiles`: what is left, what was used, and its cost in dollars. */
export async function fromUserProfiles(client: pg.Client): Promise<OpenSource> {
  const columns = await columnsOf(client, "public", "user_profiles");
  if (!columns.includes("vibe_assistant_tokens_remaining")) {
    throw new Failure("public.user_profiles has no column vibe_assistant_tokens_remaining.");
  }
  const user = columns.includes("user_id") ? "user_id" : "id";
  const or = (name: string, sql: string) => (columns.includes(name) ? sql : "null");
  return {
    name: "user_profiles",
    notes: [
      `whose a row is: public.user_profiles.${user}`,
      "of several profiles of one user the highest counter counts",
    ],
    rows: mapped(
      query(
        client,
        `select ${user}::text as "user", max(vibe_assistant_tokens_remaining)::text as amount,
                ${or("vibe_assistant_tokens_used", "max(vibe_assistant_tokens_used)::text")} as used,
                ${or("vibe_assistant_total_cost", "max(vibe_assistant_total_cost * 100)::text")} as cost
           from public.user_profiles group by ${user}`,
      ),
      (row) => ({
        user: row["user"] ?? null,
        amount: row["amount"] ?? null,
        used: row["used"] ?? null,
        cost: row["cost"] ?? null,
      }),
    ),
  };
}

/** The grants of November 2025's `token_balances`, under that name or the one that it was moved to. */
export async function fromTokenBalances(
  client: pg.Client,
  { schema, table: name }: Source,
): Promise<OpenSource> {
  const columns = await columnsOf(client, schema, name);
  for (const needed of ["user_id", "grant_type", "tokens_remaining"]) {
    if (!columns.includes(needed)) throw new Failure(`${schema}.${name} has no column ${needed}.`);
  }
  const or = (column: string) => (columns.includes(column) ? `${column}::text` : "null");
  const relation = `${escapeIdentifier(schema)}.${escapeIdentifier(name)}`;
  const [found] = await select<{ is_empty: boolean }>(
    client,
    `select not exists (select from ${relation}) as is_empty`,
  );
  return {
    name: "token_balances",
    notes: [
      "grants that have run out are left out; one of a type that there is not becomes the import's type",
      ...(found!.is_empty
        ? [
            "the table is empty: the migration of 14 November 2025 found no grants, and its hotfix has not run",
          ]
        : []),
    ],
    rows: mapped(
      query(
        client,
        `select user_id::text as "user", tokens_remaining::text as amount, grant_type::text as grant_type,
                ${or("granted_at")} as granted_at, ${or("expires_at")} as expires_at
           from ${relation}`,
      ),
      (row) => ({
        user: row["user"] ?? null,
        amount: row["amount"] ?? null,
        grantType: row["grant_type"] ?? null,
        grantedAt: row["granted_at"] ?? null,
        expiresAt: row["expires_at"] ?? "infinity",
        fault: row["amount"]?.startsWith("-")
          ? "a grant below zero, which no grant can be: the hotfix of November 2025 has not run"
          : undefined,
      }),
    ),
  };
}

const userColumns = ["user", "user_id", "email"];
const amountColumns = ["tokens", "amount", "credits", "balance"];

/** A CSV file with the columns user (or user_id, email), tokens (or amount, credits, balance), and grant_type, granted_at, expires_at. */
export function fromCsv(path: string): OpenSource {
  return { name: "csv", notes: [], rows: fileRows(path, csvRows(path)) };
}

async function* csvRows(path: string): AsyncGenerator<SourceRow> {
  const parser = parse({
    columns: (names: string[]) =>
      csvColumns(
        names.map((name) => name.trim().toLowerCase()),
        path,
      ),
    bom: true,
    trim: true,
    skip_empty_lines: true,
    info: true,
  });
  const file = createReadStream(path).on("error", (error) => parser.destroy(error));
  file.pipe(parser);
  for await (const { record, info } of parser as AsyncIterable<CsvLine>) {
    yield ofCsv(record, `${path}, line ${info.lines}`);
  }
}

interface CsvLine {
  record: Named;
  info: { lines: number };
}

function csvColumns(names: string[], path: string): string[] {
  const twice = names.find((name, nth) => names.indexOf(name) !== nth);
  if (twice !== undefined) throw new Failure(`${path} has two columns ${twice}.`);
  const amounts = names.filter((name) => amountColumns.includes(name));
  if (amounts.length > 1) {
    throw new Failure(`${path} has ${amounts.join(" and ")}: which is the balance? Leave one of them.`);
  }
  if (amounts.length === 0 || !names.some((name) => userColumns.includes(name))) {
    throw new Failure(
      "The file needs a column user, user_id or email, and one of tokens, amount, credits or balance.",
    );
  }
  return names;
}

function ofCsv(row: Named, where: string): SourceRow {
  const filled = (names: string[]) => names.map((name) => row[name]).find((one) => one) ?? null;
  return {
    user: filled(userColumns),
    amount: filled(amountColumns),
    grantType: row["grant_type"]?.toLowerCase() || null,
    grantedAt: row["granted_at"] || null,
    expiresAt: row["expires_at"] || null,
    where,
  };
}

/**
 * Stripe's billing credit grants in a file: what its API lists (`GET /v1/billing/credit_grants`, one page or several, one
 * JSON document a line or all in one), with what is left of each where the file says it.
 */
export function fromStripeFile(path: string, options: StripeOptions): OpenSource {
  return {
    name: "stripe-credits",
    notes: [
      inSmallestUnits,
      "what is left of a grant is `remaining`, where a document has it, else what was granted",
    ],
    rows: fileRows(path, mapped(grantsInFile(path), stripeRows(options))),
  };
}

/**
 * Stripe's billing credit grants as they stand, asked of its API: each that is not voided, with what is left of it. Reads, and
 * writes nothing there. The key is STRIPE_SECRET_KEY; a restricted one that may read billing does.
 *
 * @throws Failure when there is no key, or Stripe does not answer.
 */
export function fromStripe(options: StripeOptions): OpenSource {
  const { STRIPE_SECRET_KEY: key, STRIPE_API_BASE: base } = process.env;
  if (!key) {
    throw new Failure(
      "--from stripe-credits asks Stripe: STRIPE_SECRET_KEY in the environment (a restricted key that may read billing), or --file <path>.",
    );
  }
  const { protocol, hostname, port } = new URL(base ?? "https://api.stripe.com");
  const api = new Stripe(key, {
    protocol: protocol === "http:" ? "http" : "https",
    host: hostname,
    ...(port && { port }),
    maxNetworkRetries: 3,
    telemetry: false,
  });
  return {
    name: "stripe-credits",
    notes: [inSmallestUnits, "what is left of each grant is what Stripe says now"],
    rows: mapped(grantsAtStripe(api), stripeRows(options)),
  };
}

const inSmallestUnits =
  "amounts are Stripe's, in the smallest unit of the currency: --times says how many tokens one is";

export interface StripeOptions {
  metadataKey: string;
  /** Of which grants are taken; left out, of the one that there is. */
  currency?: string | undefined;
}

/** A grant as Stripe lists it. */
interface StripeGrant {
  id?: string;
  customer?: string | { id: string };
  amount?: { type?: string; monetary?: { value?: number; currency?: string } | null };
  /** What is left, where an export adds it; null: Stripe does not say it. */
  remaining?: number | null;
  category?: string;
  effective_at?: number | null;
  expires_at?: number | null;
  voided_at?: number | null;
  metadata?: Record<string, string>;
}

/** @throws Failure of what it returns, where there are grants in several currencies, and nobody said of which. */
function stripeRows({ metadataKey, currency: wanted }: StripeOptions): (grant: StripeGrant) => SourceRow {
  const moment = (seconds: number | null | undefined) =>
    seconds ? new Date(seconds * 1000).toISOString() : null;
  const only = wanted?.toLowerCase();
  let seen: string | undefined;
  return (grant) => {
    const customer = typeof grant.customer === "string" ? grant.customer : grant.customer?.id;
    const { monetary, type = "nothing" } = grant.amount ?? {};
    const left = grant.remaining === undefined ? monetary?.value : grant.remaining;
    const currency = monetary?.currency?.toLowerCase();
    if (only === undefined && currency !== undefined && currency !== (seen ??= currency)) {
      throw new Failure(
        `The grants are in ${seen} and in ${currency}, and one --times cannot be right for both: --currency <currency>. Nothing was changed.`,
      );
    }
    const fault = () => {
      if (!monetary && (grant.amount !== undefined || left === undefined))
        return `a grant of ${type}, and of no money: how many tokens it is nobody says`;
      if (only !== undefined && currency !== only) return `a grant in ${currency ?? "no currency"}`;
      if (left === undefined || left === null) return "a grant of which Stripe does not say what is left";
      return undefined;
    };
    return {
      user: grant.metadata?.[metadataKey] ?? customer ?? null,
      amount: left === undefined || left === null ? null : String(left),
      grantType: grant.category === "paid" ? "purchase" : null,
      grantedAt: moment(grant.effective_at),
      expiresAt: moment(grant.expires_at),
      fault: fault(),
    };
  };
}

async function* grantsInFile(path: string): AsyncGenerator<StripeGrant> {
  let text = "";
  for await (const piece of createReadStream(path, "utf8")) text += piece;
  const documents = (() => {
    try {
      return [JSON.parse(text)] as unknown[];
    } catch {
      return text
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map((line) => JSON.parse(line) as unknown);
    }
  })();
  const seen = new Map<string, string>();
  for (const [nth, document] of documents.entries()) {
    for (const grant of grantsIn(document, nth === documents.length - 1, path)) {
      const words = JSON.stringify(grant);
      const before = grant.id === undefined ? undefined : seen.get(grant.id);
      if (before !== undefined && before !== words) {
        throw new Failure(
          `${path} has the grant ${grant.id} twice, and not the same: fetch the list once, whole.`,
        );
      }
      if (grant.id !== undefined) seen.set(grant.id, words);
      if (before === undefined && !grant.voided_at) yield grant;
    }
  }
}

/** The grants of one document: an array, a page as Stripe answers it, or a grant. @throws Failure for anything else */
function grantsIn(document: unknown, isLast: boolean, path: string): StripeGrant[] {
  const { data, has_more, error } = (document ?? {}) as {
    data?: unknown;
    has_more?: boolean;
    error?: { message?: string };
  };
  if (error !== undefined) throw new Failure(`${path} is what Stripe said of a fault: ${error.message}`);
  if (isLast && has_more === true) {
    throw new Failure(
      `${path} is not the whole list: its last page says that there is more (has_more). Append the pages after it, a document a line. Nothing was changed.`,
    );
  }
  const grants: unknown[] = Array.isArray(document) ? document : Array.isArray(data) ? data : [document];
  if (grants.some((grant) => typeof grant !== "object" || grant === null || Array.isArray(grant))) {
    throw new Failure(`${path} has something else than credit grants in it.`);
  }
  return grants as StripeGrant[];
}

/** One request a hundred grants, and one for each grant that still counts. */
async function* grantsAtStripe(api: Stripe): AsyncGenerator<StripeGrant> {
  try {
    for await (const grant of api.billing.creditGrants.list({ limit: 100 })) {
      if (grant.voided_at) continue;
      if (!grant.amount.monetary) {
        yield grant as StripeGrant;
        continue;
      }
      const customer = typeof grant.customer === "string" ? grant.customer : grant.customer.id;
      const { balances } = await api.billing.creditBalanceSummaries.retrieve({
        customer,
        filter: { type: "credit_grant", credit_grant: grant.id },
      });
      yield { ...grant, customer, remaining: balances[0]?.available_balance.monetary?.value ?? null };
    }
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError) throw new Failure(`Stripe says: ${error.message}`);
    throw error;
  }
}

/**
 * The MySQL database of 2025, as mysqldump writes it: `users.tokens_remaining`, and where that is NULL the plan's
 * `user_subscriptions.tokens_limit`, as its app read it; use is the sum of `token_usage_history`. Users by address.
 */
export function fromMysqlDump(path: string): OpenSource {
  const notes = [
    "where users.tokens_remaining is NULL the limit of the plan in force counts, as the app read it",
  ];
  return { name: "mysql-dump", notes, rows: fileRows(path, mysqlRows(path, notes)) };
}

async function* mysqlRows(path: string, notes: string[]): AsyncGenerator<SourceRow> {
  const users = new Map<string, { email: string | null; tokens: string | null }>();
  const limits = new Map<string, string | null>();
  const used = new Map<string, bigint>();
  const tables = {
    users: ["id", "email", "tokens_remaining"],
    user_subscriptions: ["user_id", "tokens_limit"],
    token_usage_history: ["user_id", "tokens_used"],
  };
  for await (const { table, row } of dumpRows(createReadStream(path, "utf8"), tables, path, notes)) {
    if (table === "users") {
      users.set(row["id"]!, { email: row["email"]!, tokens: row["tokens_remaining"]! });
    } else if (table === "user_subscriptions") {
      // tinyint, or bit(1)
      const isInForce = row["is_active"] === undefined || ["1", "\u0001"].includes(row["is_active"]!);
      if (isInForce && !limits.has(row["user_id"]!)) limits.set(row["user_id"]!, row["tokens_limit"]!);
    } else {
      const tokens = row["tokens_used"] ?? "0";
      if (!/^-?\d+$/.test(tokens)) throw new Failure(`${path}, table ${table}: ${tokens} is no tokens_used.`);
      used.set(row["user_id"]!, (used.get(row["user_id"]!) ?? 0n) + BigInt(tokens));
    }
  }
  if (users.size === 0)
    throw new Failure(`${path} has no rows of a table users: is it what mysqldump wrote?`);
  const withNeither = [...users].filter(([id, { tokens }]) => tokens === null && !limits.has(id)).length;
  if (withNeither > 0) {
    notes.push(
      `${withNeither} of the users have no tokens_remaining and no subscription in force in the dump: nothing, or is user_subscriptions missing from it?`,
    );
  }
  for (const [id, { email, tokens }] of users) {
    yield {
      user: email || id,
      otherId: id,
      amount: tokens ?? limits.get(id) ?? null,
      used: used.get(id)?.toString() ?? null,
    };
  }
}

async function* fileRows(path: string, rows: AsyncIterable<SourceRow>): AsyncGenerator<SourceRow> {
  try {
    yield* rows;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof Failure) throw error;
    if (code === "ENOENT" || code === "EACCES" || code === "EISDIR")
      throw new Failure(`${path} cannot be read: ${code}.`);
    if (code?.startsWith("CSV_") || error instanceof SyntaxError)
      throw new Failure(`${path} cannot be understood: ${message}`);
    throw error;
  }
}
