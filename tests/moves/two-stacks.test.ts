// @module-tag proof
/**
 * Users and a team go from one whole project to another and back: two Postgres servers, each with its API and its sign-ins
 * in a process of its own. App servers go on calling through both APIs by the router of docs/guides/several-projects.md,
 * each with a directory of its own, which is out of date now and then. One move is taken back, and in another one the
 * server that the books come to crashes. Every acknowledged call has one effect, in one project.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { createKeys } from "local-platform/gateway/keys";
import { afterAll, beforeAll, expect, test } from "vitest";
import ws from "ws";
import { startApiProcess } from "../proofs/faults/killable-api.ts";
import { breaches } from "../support/books.ts";
import { runHere, start } from "../support/command.ts";
import type { Database } from "../support/database.ts";
import { startDurableServer, type DurableServer } from "../support/durable.ts";
import { applyMutant } from "../support/mutants.ts";
import { moveUser } from "./two-projects.ts";

type Place = "eu-1" | "eu-2";
const elsewhere = (place: Place): Place => (place === "eu-1" ? "eu-2" : "eu-1");
const planTokens = 5_000;
const password = "a-password-of-theirs";

interface Stack {
  server: DurableServer;
  db: Database;
  /** What the app's server has: the secret key. */
  client: SupabaseClient;
  /** What a browser has: the publishable key. */
  browser(): SupabaseClient;
  close(): Promise<void>;
}

async function startStack(): Promise<Stack> {
  const server = await startDurableServer();
  const keys = await createKeys();
  const api = await startApiProcess(server.db, keys);
  const open = (key: string) =>
    createClient(api.url, key, {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport: ws as never },
    });
  return {
    server,
    db: server.db,
    client: open(keys.secretKey),
    browser: () => open(keys.publishableKey),
    close: async () => {
      api.child.kill("SIGKILL");
      await server.close();
    },
  };
}

let stacks: Record<Place, Stack>;
beforeAll(async () => {
  const [one, other] = await Promise.all([startStack(), startStack()]);
  stacks = { "eu-1": one, "eu-2": other };
  const { error } = await one.client.rpc("set_token_plan", {
    p_plan_type: "free",
    p_plan: { name: "Free", tokens: planTokens, is_default: true },
    p_reason: "what new users get",
  });
  if (error) throw error;
  await moves("eu-1", "--settings");
});
afterAll(async () => {
  await Promise.all(Object.values(stacks).map((stack) => stack.close()));
});

/** The arguments of `npx tokenbook move`, from a project to the other. */
const from = (place: Place, who: string, ...more: string[]) => [
  who,
  `--db-url=${stacks[place].db.url("postgres")}`,
  `--to=${stacks[elsewhere(place)].db.url("postgres")}`,
  ...(more.includes("--cancel") || who === "--settings" ? [] : ["--name", elsewhere(place)]),
  "--yes",
  "--json",
  ...more,
];

/** Runs it to its end, which is a good one. */
async function moves(place: Place, who: string, ...more: string[]): Promise<void> {
  const { status, stdout, stderr } = await runHere("move", from(place, who, ...more));
  if (status !== 0) throw new Error(stderr);
  const said = JSON.parse(stdout) as { breaches_here?: string[]; breaches_there?: string[] };
  expect([said.breaches_here ?? [], said.breaches_there ?? []]).toEqual([[], []]);
}

/** Signs somebody up, as an app's page does: the default plan is theirs. */
async function signUp(email: string, place: Place): Promise<string> {
  const { data, error } = await stacks[place].browser().auth.signUp({ email, password });
  if (error) throw error;
  return data.user!.id;
}

/** A call that writes, and how the books name it. */
interface Call {
  user: string;
  key: string;
  name: "deduct_tokens_with_fifo" | "track_token_usage" | "grant_tokens";
  /** Given or, below 0, taken. */
  tokens: number;
}

const argumentsOf = ({ user, key, name, tokens }: Call) => ({
  p_user_id: user,
  p_idempotency_key: key,
  ...{
    deduct_tokens_with_fifo: { p_tokens_to_deduct: -tokens },
    track_token_usage: { p_action_type: "chat_conversation", p_tokens_used: -tokens },
    grant_tokens: { p_tokens: tokens, p_grant_type: "purchase" },
  }[name],
});

interface Receipt {
  success: boolean;
  replayed: boolean;
  transaction_id: number;
}

/** What an app server, or a page, calls both projects with. */
interface Clients {
  of: Record<Place, SupabaseClient>;
  /** Before the first call there. */
  arriveAt?: (place: Place) => Promise<void>;
}

/** The router of the guide. */
class Router {
  /** What it was answered when it had to send a call again, and how often. */
  readonly again: Record<string, number> = {};
  private readonly directory = new Map<string, Place>();
  private readonly been = new Map<string, Set<Place>>();
  private readonly clients: Clients;
  private readonly home: Place;
  private readonly stays: boolean;

  constructor(clients: Clients, home: Place, stays: boolean) {
    this.clients = clients;
    this.home = home;
    this.stays = stays;
  }

  /** From now on the directory says where the user was before. */
  forget(user: string): void {
    const before = [...(this.been.get(user) ?? [])].find((place) => place !== this.directory.get(user));
    if (before !== undefined) this.directory.set(user, before);
  }

  async call(call: Call): Promise<Receipt> {
    const { user } = call;
    for (let tries = 0; tries < (this.stays ? 50 : 700); tries++) {
      const place = this.directory.get(user) ?? this.home;
      this.been.set(user, (this.been.get(user) ?? new Set()).add(place));
      const { data, error, status } = await this.clients.of[place].rpc(call.name, argumentsOf(call));
      if (error === null) return data as Receipt;
      const isRefused = ["410 account_moved", "503 account_moving", "503 busy"].includes(
        `${status} ${error.message}`,
      );
      if (!isRefused && status !== 0 && status < 500)
        throw new Error(`${call.key} at ${place}: ${status} ${error.message}`);
      const said = isRefused ? error.message : "no answer";
      this.again[said] = (this.again[said] ?? 0) + 1;
      if (said === "account_moved" && !this.stays) {
        const { moved_to } = JSON.parse(error.details) as { moved_to: Place };
        this.directory.set(user, moved_to);
        await this.clients.arriveAt?.(moved_to);
      } else await sleep(20);
    }
    throw new Error(`${call.key} never came back`);
  }
}

/** Who is moved, and who is not. */
interface People {
  solo: string;
  payer: string;
  members: string[];
  bystanders: Record<Place, string>;
}

async function createPeople(name: string): Promise<People> {
  const someone = (who: string, place: Place = "eu-1") => signUp(`${name}-${who}@example.com`, place);
  const people = {
    solo: await someone("solo"),
    payer: await someone("payer"),
    members: [await someone("first"), await someone("second")],
    bystanders: { "eu-1": await someone("here"), "eu-2": await someone("there", "eu-2") },
  };
  for (const member of people.members) {
    const args = { p_user_id: people.payer, p_member_id: member };
    const { error } = await stacks["eu-1"].client.rpc("add_token_team_member", args);
    if (error) throw error;
  }
  return people;
}

interface Found {
  acknowledged: number;
  replays: number;
  again: Record<string, number>;
  wrong: string[];
  uses: number;
}

/** Has everybody work while the books are moved about, and compares what was acknowledged with the books of both projects. */
async function underLoad(
  people: People,
  at: { solo: Place; team: Place },
  move: () => Promise<void>,
  { stays = false } = {},
): Promise<Found> {
  const { solo, payer, members, bystanders } = people;
  const found: Found = { acknowledged: 0, replays: 0, again: {}, wrong: [], uses: 0 };
  const effects = new Map<string, Call & { transaction: number }>();
  const over = new AbortController();

  const worker = async (
    name: string,
    users: string[],
    kinds: Call["name"][],
    { clients = ofServer(), home = "eu-1" as Place, isOwn = false } = {},
  ) => {
    const router = new Router(clients, home, stays);
    const calls: Call[] = [];
    for (let nth = 0; !over.signal.aborted; nth++) {
      const isRepeat = nth % 5 === 4;
      const kind = kinds[nth % kinds.length]!;
      const tokens = kind === "grant_tokens" ? 100 : -1 - (nth % 7);
      const next = { user: users[nth % users.length]!, key: `${name}-${nth}`, name: kind, tokens };
      const call = isRepeat ? calls[(nth * 7) % calls.length]! : next;
      if (nth % 6 === 5) router.forget(call.user);
      const { success, replayed, transaction_id } = await router.call(call);
      const id = `${call.user} ${isOwn} ${call.key}`;
      if (!success) found.wrong.push(`${call.key} was refused`);
      if (isRepeat) {
        found.replays++;
        if (!replayed || transaction_id !== effects.get(id)!.transaction)
          found.wrong.push(`${call.key} was ${effects.get(id)!.transaction}, and is ${transaction_id}`);
      } else {
        found.acknowledged++;
        effects.set(id, { ...call, transaction: transaction_id });
        calls.push(call);
      }
      await sleep(20);
    }
    for (const [said, times] of Object.entries(router.again)) {
      found.again[said] = (found.again[said] ?? 0) + times;
      if (said.startsWith("account") && Object.values(bystanders).includes(users[0]!))
        found.wrong.push(`${name} was told ${said}`);
    }
  };
  const deduct = "deduct_tokens_with_fifo";
  const track = "track_token_usage";
  const working = [
    worker("a", [solo], ["grant_tokens", deduct, track]),
    worker("b", [solo], [track, deduct]),
    // their own calls, with the keys of the server's
    worker("a", [solo], [deduct], { clients: await asThemself(solo), isOwn: true }),
    worker("c", members, [deduct, track, deduct]),
    worker("d", [payer, ...members], [track, deduct]),
    worker("e", [bystanders["eu-1"]], [deduct]),
    worker("f", [bystanders["eu-2"]], [deduct], { home: "eu-2" }),
  ].map((work) => work.catch((error: Error) => found.wrong.push(error.message)));
  try {
    await sleep(200);
    await move();
    await sleep(200);
  } finally {
    over.abort();
  }
  await Promise.all(working);

  found.uses = [...effects.values()].filter(({ name }) => name === track).length;
  for (const [ids, place] of [
    [[solo], at.solo],
    [[payer, ...members], at.team],
    [[bystanders["eu-1"]], "eu-1"],
    [[bystanders["eu-2"]], "eu-2"],
  ] as const)
    found.wrong.push(...(await differences([...ids], place, effects)));
  for (const { db } of Object.values(stacks)) {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    found.wrong.push(...rows.map((row) => JSON.stringify(row)), ...(await breaches(db)));
  }
  return found;
}

const ofServer = (): Clients => ({ of: { "eu-1": stacks["eu-1"].client, "eu-2": stacks["eu-2"].client } });

/** The user's own page: they sign in in the first project, and in the other once they are told that they are there. */
async function asThemself(id: string): Promise<Clients> {
  const { rows } = await stacks["eu-1"].db.admin.query<{ email: string }>(
    "select email from auth.users where id = $1",
    [id],
  );
  const { email } = rows[0]!;
  const signedIn = new Set<Place>();
  const of = { "eu-1": stacks["eu-1"].browser(), "eu-2": stacks["eu-2"].browser() };
  const arriveAt = async (place: Place) => {
    for (let tries = 0; !signedIn.has(place); tries++) {
      // again where nobody answered: who is there already is not made twice
      if (place === "eu-2")
        await stacks[place].client.auth.admin.createUser({ id, email, password, email_confirm: true });
      const { error } = await of[place].auth.signInWithPassword({ email, password });
      if (error === null) signedIn.add(place);
      else if (tries === 100) throw error;
      else await sleep(100);
    }
  };
  await arriveAt("eu-1");
  return { of, arriveAt };
}

interface Entry {
  id: number;
  user_id: string;
  spender: string;
  isOwn: boolean;
  key: string | null;
  tokens: number;
  row: string;
}

async function entriesOf(db: Database, ids: string[]): Promise<Entry[]> {
  const { rows } = await db.admin.query<Entry>(
    `select t.id::int, t.user_id, coalesce(t.member_id, t.user_id) as spender, t.actor_role = 'user' as "isOwn",
            t.idempotency_key as key, t.tokens::int, t::text as row
       from public.token_transactions t where t.user_id = any ($1) order by t.user_id, t.id`,
    [ids],
  );
  return rows;
}

/** What is wrong about these users, whose books have to be in that project. */
async function differences(
  ids: string[],
  place: Place,
  effects: Map<string, Call & { transaction: number }>,
): Promise<string[]> {
  const { db } = stacks[place];
  const wrong: string[] = [];
  const here = await entriesOf(db, ids);
  const theirs = [...effects].filter(([, { user }]) => ids.includes(user));

  // each acknowledged call is one entry, and nothing else is one of a call
  const booked = new Map<string, Entry>();
  for (const entry of here.filter(({ key }) => key !== null && /^[a-f]-/.test(key))) {
    const id = `${entry.spender} ${entry.isOwn} ${entry.key}`;
    if (booked.has(id)) wrong.push(`${id} has two entries`);
    booked.set(id, entry);
    if (!effects.has(id)) wrong.push(`${id} was not acknowledged, and is booked`);
  }
  for (const [id, { tokens, transaction }] of theirs)
    if (booked.get(id)?.id !== transaction || booked.get(id)?.tokens !== tokens)
      wrong.push(`${id} was acknowledged, and is lost`);

  // the sum
  const given = theirs.reduce((sum, [, { tokens }]) => sum + tokens, 0) + ids.length * planTokens;
  const { rows: accounts } = await db.admin.query<{ left: number; states: string[] }>(
    "select sum(tokens_remaining)::int as left, array_agg(distinct state) as states from public.token_accounts where user_id = any ($1)",
    [ids],
  );
  if (accounts[0]!.left !== given) wrong.push(`${ids[0]} has ${accounts[0]!.left}, and was given ${given}`);
  if (accounts[0]!.states.join() !== "active") wrong.push(`${ids[0]} is ${accounts[0]!.states.join()}`);

  // the other project has nothing but what went over
  const other = stacks[elsewhere(place)].db;
  const rows = new Map(here.map((entry) => [`${entry.user_id} ${entry.id}`, entry.row]));
  for (const { user_id, id, row } of await entriesOf(other, ids))
    if (rows.get(`${user_id} ${id}`) !== row) wrong.push(`${user_id} #${id} is another in the other project`);
  const { rows: left } = await other.admin.query<{ state: string }>(
    "select state from public.token_accounts where user_id = any ($1) and state <> 'moved'",
    [ids],
  );
  wrong.push(...left.map(({ state }) => `${ids[0]} is ${state} in the other project`));

  // and the chain over the ledger, as it was proved when they left, is the beginning of the one here
  const { rows: lines } = await other.admin.query<{ line: string }>(
    `select jsonb_array_elements_text(m.proof -> 'ledger') as line from tokenbook.moves m
      where m.user_id = $1 and m.direction = 'out' and m.phase = 'moved' order by m.started_at desc limit $2`,
    [ids[0], ids.length],
  );
  for (const { line } of lines) {
    const [user, nth] = line.split(" ");
    const { rows: found } = await db.admin.query<{ line: string }>(
      "select tokenbook.checkpoint_line(c) as line from tokenbook.chain_ledger($1, null, $2) c order by c.id desc limit 1",
      [user, nth],
    );
    if (found[0]?.line !== line) wrong.push(`the ledger of ${user} is another one up to ${nth}`);
  }
  return wrong;
}

/** The two databases of a move. */
const thereFrom = (place: Place) => ({ from: stacks[place].db, to: stacks[elsewhere(place)].db });

const say = (what: string, { wrong, ...mix }: Found) =>
  console.log(`${what}: ${JSON.stringify(mix)}, violations ${wrong.length}`);

test("a user and a team are moved there and back", async () => {
  const people = await createPeople("moved");
  const { solo, payer } = people;
  const found = await underLoad(people, { solo: "eu-1", team: "eu-1" }, async () => {
    await moves("eu-1", solo);

    const crashed = start("move", from("eu-1", payer, "--team"));
    await Promise.race([crashed.says("1 of 4"), crashed.finished]);
    await stacks["eu-2"].server.kill("all");
    await stacks["eu-2"].server.start();
    await crashed.finished;
    await moves("eu-1", payer, "--team");

    await moveUser(thereFrom("eu-2"), solo, { place: "eu-1", until: "copied" });
    await moves("eu-2", solo, "--cancel");
    await sleep(200); // calls that come late to where they were
    await moves("eu-2", solo);
    await moves("eu-2", payer, "--team");
  });
  say("two stacks", found);
  expect(found.wrong).toEqual([]);
  expect(Object.keys(found.again).toSorted()).toEqual(
    expect.arrayContaining(["account_moved", "account_moving", "no answer"]),
  );
  expect(found.acknowledged).toBeGreaterThan(200);

  // what everyone used, in the reports of both
  let uses = 0;
  for (const { client } of Object.values(stacks)) {
    const { data } = await client.rpc("get_token_usage_by", { p_bucket: "all", p_for_everyone: true });
    uses += (data as { rows: { uses: number }[] }).rows[0]?.uses ?? 0;
  }
  expect(uses).toBe(found.uses);
});

test("known bad: a router that does not go where it is told", async () => {
  const people = await createPeople("stays");
  const found = await underLoad(
    people,
    { solo: "eu-2", team: "eu-1" },
    async () => void (await moveUser(thereFrom("eu-1"), people.solo)),
    { stays: true },
  );
  say("known bad, stays", found);
  expect(found.wrong.join()).toMatch(/never came back/);
});

// the last: the servers are of no use after it
test("known bad: the books are copied before they are locked", async () => {
  const people = await createPeople("unlocked");
  for (const { db } of Object.values(stacks)) await applyMutant(db, "moves-do-not-lock");
  const found = await underLoad(people, { solo: "eu-2", team: "eu-1" }, async () => {
    await moveUser(thereFrom("eu-1"), people.solo, {
      onStep: async (step) => {
        if (step === "copied") await sleep(200);
        if (step === "let go")
          await stacks["eu-1"].db.admin.query(
            "update public.token_accounts set state = 'moved' where user_id = $1",
            [people.solo],
          );
      },
    });
  });
  say("known bad, not locked", found);
  expect(found.wrong.join()).toMatch(/is lost/);
});
