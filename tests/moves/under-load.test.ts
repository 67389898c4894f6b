// @module-tag proof
/**
 * A user's books go to another project while their server spends for them without a pause, and others spend as well: no
 * acknowledged call is lost, no key has two effects, no token is spent twice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { start } from "../support/command.ts";
import type { Database } from "../support/database.ts";
import { createUser, rpc } from "../support/roles.ts";
import { connectAsServer } from "../support/storm.ts";
import { cancelMove, createProjects, moveUser, type Projects } from "./two-projects.ts";

interface Found {
  acknowledged: number;
  replays: number;
  /** Calls that were sent again because the books were on their way, and those that followed them. */
  waited: number;
  followed: number;
  others: number;
  wrong: string[];
}

/** What an app's server does: it notes where a user is, and follows the refusals. */
class Router {
  place = "home";
  waited = 0;
  followed = 0;

  private readonly clients: Record<string, pg.Client>;

  constructor(clients: Record<string, pg.Client>) {
    this.clients = clients;
  }

  async spend(
    user: string,
    tokens: number,
    key: string,
  ): Promise<{ transaction_id: number; replayed: boolean }> {
    for (let tries = 0; tries < 3_000; tries++) {
      try {
        return await rpc(this.clients[this.place]!, "deduct_tokens_with_fifo", {
          p_user_id: user,
          p_tokens_to_deduct: tokens,
          p_idempotency_key: key,
        });
      } catch (error) {
        const { message, detail } = error as { message: string; detail?: string };
        if (message === "account_moving" || message === "busy") {
          this.waited++;
          await sleep(10);
        } else if (message === "account_moved") {
          this.followed++;
          this.place = (JSON.parse(detail!) as { moved_to: string }).moved_to;
        } else throw error;
      }
    }
    throw new Error("it never came back");
  }
}

async function underLoad(
  projects: Projects,
  move: (user: string) => Promise<void>,
  { place = "eu-2" } = {},
): Promise<Found> {
  const { from, to } = projects;
  const user = await createUser(from);
  const others = [await createUser(from), await createUser(from)];
  const granted = 1_000_000;
  for (const id of [user, ...others])
    for (const part of [1, 2]) await grant(from, id, granted / 2, { key: `given-${part}` });
  const found: Found = { acknowledged: 0, replays: 0, waited: 0, followed: 0, others: 0, wrong: [] };
  const effects = new Map<string, { tokens: number; transaction: number }>();
  const over = new AbortController();
  const connections: pg.Client[] = [];
  const connect = async (db: Database) => {
    const client = await connectAsServer(db);
    connections.push(client);
    return client;
  };

  const writer = async (nth: number) => {
    const router = new Router({ home: await connect(from), [place]: await connect(to) });
    const own: string[] = [];
    for (let call = 0; !over.signal.aborted; call++) {
      const isRepeat = call % 4 === 3;
      const key = isRepeat ? own[(call * 7) % own.length]! : `w${nth}-${call}`;
      const tokens = effects.get(key)?.tokens ?? 1 + (call % 9);
      const receipt = await router.spend(user, tokens, key);
      if (isRepeat) {
        found.replays++;
        if (receipt.transaction_id !== effects.get(key)!.transaction || !receipt.replayed)
          found.wrong.push(`${key} was ${effects.get(key)!.transaction}, and is ${receipt.transaction_id}`);
      } else {
        found.acknowledged++;
        effects.set(key, { tokens, transaction: receipt.transaction_id });
        own.push(key);
      }
      await sleep(4);
    }
    found.waited += router.waited;
    found.followed += router.followed;
  };
  const bystander = async (id: string) => {
    const router = new Router({ home: await connect(from) });
    for (let call = 0; !over.signal.aborted; call++) {
      await router.spend(id, 1, `b-${call}`);
      found.others++;
      await sleep(4);
    }
    if (router.waited > 0) found.wrong.push(`another user waited ${router.waited} times`);
  };

  // whatever else a call says is wrong, and ends its caller
  const working = [...[1, 2, 3].map(writer), ...others.map(bystander)].map((work) =>
    work.catch((error: Error) => found.wrong.push(error.message)),
  );
  try {
    await sleep(150);
    await move(user);
    await sleep(150);
  } finally {
    over.abort();
  }
  await Promise.all(working);
  await Promise.all(connections.map((client) => client.end()));

  const [there] = (
    await to.admin.query<{ left: number; used: number }>(
      "select tokens_remaining::int as left, tokens_used::int as used from public.token_accounts where user_id = $1",
      [user],
    )
  ).rows;
  const spent = [...effects.values()].reduce((sum, { tokens }) => sum + tokens, 0);
  if (there?.used !== spent) found.wrong.push(`acknowledged ${spent}, and booked are ${there?.used}`);
  if (there!.left + spent !== granted)
    found.wrong.push(`of ${granted} are left ${there!.left}, and spent ${spent}`);
  const { rows: entries } = await to.admin.query<{ id: number; key: string; tokens: number }>(
    "select id::int, idempotency_key as key, -tokens::int as tokens from public.token_transactions where user_id = $1 and entry_type = 'deduction'",
    [user],
  );
  const booked = new Map(entries.map((one) => [one.key, one]));
  if (booked.size !== entries.length) found.wrong.push(`${entries.length} entries of ${booked.size} keys`);
  for (const [key, { tokens, transaction }] of effects)
    if (booked.get(key)?.id !== transaction || booked.get(key)?.tokens !== tokens)
      found.wrong.push(`${key} was acknowledged, and is lost`);
  for (const db of [from, to]) {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    found.wrong.push(...rows.map((row) => JSON.stringify(row)));
  }
  return found;
}

const say = (what: string, { wrong, ...mix }: Found) =>
  console.log(`${what}: ${JSON.stringify(mix)}, violations ${wrong.length}`);

test("the move is stopped after each step, taken back once, and gone on with", async () => {
  const projects = await createProjects();
  const found = await underLoad(projects, async (user) => {
    await moveUser(projects, user, { until: "copied" });
    await cancelMove(projects, user);
    await sleep(100);
    for (const until of ["locked", "copied", "let go", "opened"] as const) {
      await moveUser(projects, user, { until });
      await sleep(50);
    }
  });
  say("stopped", found);
  expect(found.wrong).toEqual([]);
  expect(found.waited).toBeGreaterThan(0);
  expect(found.followed).toBeGreaterThan(0);
  expect(found.acknowledged).toBeGreaterThan(50);
  await projects.drop();
});

test("the command is killed at each step, and run again", async () => {
  const projects = await createProjects();
  const args = (user: string) => [
    user,
    "--db-url",
    projects.from.url("postgres"),
    "--to",
    projects.to.url("postgres"),
    "--name",
    "eu-2",
    "--yes",
  ];
  const found = await underLoad(projects, async (user) => {
    for (const words of ["1 of 4", "3 of 4"]) {
      const run = start("move", args(user));
      await Promise.race([run.says(words), run.finished]);
      run.kill("SIGKILL");
      await run.finished;
    }
    const { status, stdout, stderr } = await start("move", [...args(user), "--json"]).finished;
    if (status !== 0) throw new Error(stderr);
    expect(JSON.parse(stdout)).toMatchObject({ moved_to: "eu-2", breaches_here: [], breaches_there: [] });
  });
  say("killed", found);
  expect(found.wrong).toEqual([]);
  await projects.drop();
});

test("known bad: the books are copied before they are locked", async () => {
  const projects = await createProjects("moves-do-not-lock");
  const found = await underLoad(projects, async (user) => {
    await moveUser(projects, user, {
      onStep: async (step) => {
        if (step === "copied") await sleep(100);
        if (step === "let go")
          await projects.from.admin.query(
            "update public.token_accounts set state = 'moved' where user_id = $1",
            [user],
          );
      },
    });
  });
  say("known bad, not locked", found);
  expect(found.wrong.join()).toMatch(/is lost|and booked are|duplicate key/);
  await projects.drop();
});

test("known bad: the keys stay behind", async () => {
  const projects = await createProjects("moves-copy-no-keys");
  const found = await underLoad(projects, async (user) => void (await moveUser(projects, user)));
  say("known bad, no keys", found);
  expect(found.wrong.join()).toMatch(/was \d+, and is \d+/);
  await projects.drop();
});
