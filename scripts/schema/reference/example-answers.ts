/** What the examples answer on the demo data, with what differs from run to run replaced by what does not. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { withConnection } from "../../../packages/tokenbook/src/database/connection.ts";
import { projectRoot } from "../../project.ts";
import type { ApiFunction } from "../api-description.ts";
import {
  type Before,
  delivery,
  type Example,
  exampleCalls,
  type Json,
  moments,
  referral,
} from "./example-calls.ts";
import { inSql, isCall } from "./example-forms.ts";

/** Every example by its function. */
export const examples: Readonly<Record<string, Example>> = Object.assign({}, ...Object.values(exampleCalls));

/** What stands in an example's text, and what takes its place in a run. */
export type Stand = readonly (readonly [shown: string, real: string])[];

/** Demo data for the examples, in a migrated database. */
export async function loadDemo(database: { query(sql: string): Promise<unknown> }): Promise<void> {
  // New users get the free plan, as the seeds have it; where nothing was given before, no plan does.
  await database.query(
    "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'free'",
  );
  await database.query(readFileSync(join(projectRoot, "supabase/seed.sql"), "utf8"));
}

/** The answers of all examples, each asked by itself of the demo data. */
export async function answersOfExamples(
  databaseUrl: string,
  functions: readonly ApiFunction[],
): Promise<Map<string, Json>> {
  return withConnection(databaseUrl, async (client) => {
    const answers = new Map<string, Json>();
    for (const fn of functions) {
      const example = examples[fn.name];
      if (example === undefined) continue;
      await client.query("begin; set local search_path = public, extensions"); // as readers have it
      const { answer, stand } = await askInSql(client, fn, inSql(fn.name, example, fn.columns !== null));
      await client.query("rollback");
      answers.set(fn.name, stable(fn.name, answer, stand));
    }
    return answers;
  });
}

/** Makes what an example needs, asks it as it is written, and reads the answer as the API gives it. */
export async function askInSql(
  client: pg.ClientBase,
  fn: ApiFunction,
  text: string,
): Promise<{ answer: Json; stand: Stand }> {
  const example = examples[fn.name]!;
  const ask = async (sql: string, isTable: boolean) => {
    const { rows } = await client.query<{ rows: Record<string, Json>[] }>(
      `with answer as materialized (${sql.replace(/;$/, "")}) select coalesce(json_agg(a), '[]') as rows from answer a`,
    );
    return isTable ? rows[0]!.rows : Object.values(rows[0]!.rows[0]!)[0]!;
  };
  if (isCall(example) && example.given !== undefined) await client.query(example.given.sql());
  const stand = await prepare(example, (step, standing) =>
    ask(placed(inSql(step.call, step, tables.has(step.call)), standing), tables.has(step.call)),
  );
  return { answer: await ask(placed(text, stand), fn.columns !== null || !isCall(example)), stand };
}

/** Functions of {@link Before} that answer rows. */
const tables = new Set(["claim_token_webhooks"]);

/** Makes what must be there before an example, and says what stands for what in it. */
export async function prepare(
  example: Example,
  ask: (step: Before, stand: Stand) => Promise<Json>,
): Promise<Stand> {
  const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
  const stand: [string, string][] = [
    [moments.now, inSeconds(0)],
    [moments.later, inSeconds(30 * 86_400)],
  ];
  for (const step of (isCall(example) && example.before) || []) {
    const answer = await ask(step, stand);
    for (const [path, shown] of Object.entries(step.gives ?? {})) {
      const real = path.split(".").reduce<Json | undefined>((at, key) => (at as never)?.[key], answer);
      if (real === undefined || real === null)
        throw new Error(`${step.call} answers no ${path}: ${JSON.stringify(answer)}`);
      stand.push([String(shown), String(real)]);
    }
  }
  return stand;
}

/** A text with what is real in the place of what is shown. */
export const placed = (text: string, stand: Stand) =>
  stand.reduce((so, [shown, real]) => so.replaceAll(shown, real), text);

/** The demo's own ids are the same everywhere. */
const known = /-0000-4000-8000-00000000000[0-9a]$|^0{8}-/;
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const moment = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const momentInText = /\d{4}-\d\d-\d\d(T[\d:.]+Z)?/g;
/** Of the ledger, and keys made of one. */
const digest = /\b[0-9a-f]{32,64}\b/g;
/** A code that was drawn. */
const drawnCode = /^[0-9A-Z]{4}(-[0-9A-Z]{4}){2}$/;

/**
 * An answer without what chance or the clock put into it: ids, moments and digests are replaced by ones that are the same
 * each time. A moment of now is the page's now; of one within a day the distance is kept, of one farther away the side.
 */
export function stable(name: string, answer: Json, stand: Stand = []): Json {
  const shownFor = new Map(stand.map(([shown, real]) => [real, shown]));
  const made = new Map<string, string>();
  const idFor = (real: string) => {
    const before = made.get(real);
    if (before !== undefined) return before;
    const hex = createHash("sha256").update(`${name} ${made.size}`).digest("hex");
    const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
    made.set(real, id);
    return id;
  };
  const digestFor = (real: string) =>
    createHash("sha256").update(`${name} digest ${real.length}`).digest("hex").slice(0, real.length);
  const text = (value: string): string => {
    const shown = shownFor.get(value);
    if (shown !== undefined) return shown;
    if (moment.test(value)) return momentFor(value);
    if (drawnCode.test(value)) return referral;
    return value
      .replaceAll(uuid, (id) => (known.test(id) ? id : (shownFor.get(id) ?? idFor(id))))
      .replaceAll(digest, digestFor)
      .replaceAll(momentInText, (at) =>
        momentFor(at)
          .slice(0, at.length === 10 ? 10 : 19)
          .concat(at.length === 10 ? "" : ".000000Z"),
      );
  };
  const example = examples[name];
  const drawn = example !== undefined && isCall(example) ? (example.drawn ?? []) : [];
  const visit = (value: Json, key = ""): Json => {
    if (typeof value === "string") return text(value);
    if (typeof value === "number") return drawn.includes(key) ? delivery : value;
    if (Array.isArray(value)) return (value as Json[]).map((it) => visit(it));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([at, of]) => [at, visit(of as Json, at)]));
  };
  return visit(answer);
}

function momentFor(real: string): string {
  const minutes = (Date.parse(real) - Date.now()) / 60_000;
  const now = Date.parse(moments.now);
  const at = (milliseconds: number) => new Date(milliseconds).toISOString().replace(".000Z", "+00:00");
  const day = 24 * 60;
  if (/T00:00:00(\.0+)?(Z|\+00:00)$/.test(real)) {
    const days = Math.abs(minutes) > 2 * day ? (minutes > 0 ? 30 : -29) : minutes > 0 ? 1 : 0;
    return at(now - (now % (day * 60_000)) + days * day * 60_000);
  }
  if (Math.abs(minutes) < 5) return at(now);
  if (Math.abs(minutes) < day) return at(now + Math.round(minutes / 5) * 5 * 60_000);
  return minutes < 0 ? "2026-01-01T09:30:00+00:00" : at(Date.parse(moments.later));
}
