/** Channels of an unmodified supabase-js, and what they were told. */
import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";
import { expect } from "vitest";
import type { ApiUnderTest } from "../api-under-test.ts";

export const [ALICE, BOB] = ["a11ce000-0000-4000-8000-000000000001", "b0b00000-0000-4000-8000-000000000002"];

/** Tables with and without row level security, a column that nobody but the server reads, one without a key, one unpublished. */
export const SQL = `
  create type public.mood as enum ('sad', 'glad');
  create table public.accounts (
    user_id uuid primary key, balance bigint not null default 0, note text, secret text default 'hidden', mood public.mood,
    tags text[], facts jsonb, changed_at timestamptz not null default '2026-01-31 12:00:00.123456+00');
  alter table public.accounts enable row level security;
  create policy own on public.accounts for select to authenticated using (user_id = (select auth.uid()));
  grant select (user_id, balance, note, mood, tags, facts, changed_at) on public.accounts to authenticated;
  grant select on public.accounts to service_role;
  create table public.posts (id int primary key, title text, likes int, body text);
  grant select on public.posts to anon, authenticated;
  create table public.whole (id int primary key, word text);
  alter table public.whole replica identity full;
  grant select on public.whole to anon;
  create table public.keyless (word text);
  alter table public.keyless replica identity full;
  grant select on public.keyless to anon;
  create table public.withheld (id int primary key, word text);
  grant select (word) on public.withheld to anon;
  create table public.unpublished (id int primary key);
  grant select on public.unpublished to anon;
  alter publication supabase_realtime
    add table public.accounts, public.posts, public.whole, public.keyless, public.withheld`;

/** What a channel was told, in the order in which it came. */
export interface Heard {
  client: SupabaseClient;
  channel: RealtimeChannel;
  // oxlint-disable-next-line typescript/no-explicit-any -- the tests say what is in there
  changes: any[];
  /** Each status, with the words of its error. */
  statuses: string[];
  /** What `system` messages said: `ok: Subscribed to PostgreSQL`. */
  system: string[];
}

const subscribed = "ok: Subscribed to PostgreSQL";
let names = 0;

/** The test server writes commits down when it likes, and only then does the log tell of them; this one's `admin` waits. */
export async function commitAtOnce({ db }: ApiUnderTest): Promise<void> {
  await db.admin.query(`alter database ${db.name} set synchronous_commit = on`);
  // Connections that are open already.
  await db.admin.query("set synchronous_commit = on");
}

/** A client of a user; of nobody without one. */
export async function clientOf(api: ApiUnderTest, user?: string): Promise<SupabaseClient> {
  return user === undefined
    ? api.client()
    : api.clientAs(await api.token({ sub: user, role: "authenticated" }));
}

/** Joins; `asked` are entries for `postgres_changes`, each with every event of schema public unless it says otherwise. */
export function join(client: SupabaseClient, ...asked: object[]): Heard {
  const channel = client.channel(`channel ${++names}`);
  const heard: Heard = { client, channel, changes: [], statuses: [], system: [] };
  // oxlint-disable-next-line typescript/no-explicit-any -- what a channel is asked for is chosen at run time
  const on = channel.on.bind(channel) as (type: string, filter: object, told: (it: any) => void) => void;
  for (const one of asked) {
    on("postgres_changes", { event: "*", schema: "public", ...one }, (it) => heard.changes.push(it));
  }
  on("system", {}, ({ status, message }) => heard.system.push(`${status}: ${message}`));
  channel.subscribe((status, error) =>
    heard.statuses.push(error === undefined ? status : `${status}: ${error.message}`),
  );
  return heard;
}

/** Joins, and waits until every change from then on is heard. */
export async function listen(client: SupabaseClient, ...asked: object[]): Promise<Heard> {
  const heard = join(client, ...asked);
  await says(heard, subscribed);
  return heard;
}

/** Waits until the last `system` message is this. */
export async function says(heard: Heard, message: string | RegExp): Promise<void> {
  const matcher =
    typeof message === "string" ? expect.poll(() => heard.system.at(-1) ?? "", fast) : undefined;
  await (matcher?.toBe(message) ??
    expect.poll(() => heard.system.at(-1) ?? "", fast).toMatch(message as RegExp));
}

/** Waits until it was told of so many changes, and a moment longer for one too many. */
export async function hears(heard: Heard, count: number): Promise<void> {
  await expect.poll(() => heard.changes.length, fast).toBeGreaterThanOrEqual(count);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(heard.changes).toHaveLength(count);
}

export const fast = { timeout: 15_000, interval: 5 };

/** In one line each: `UPDATE 7`. */
export function brief(heard: Heard, key = "id"): string[] {
  return heard.changes.map(({ eventType, new: now, old }) => `${eventType} ${now[key] ?? old[key]}`);
}
