// @module-tag proof
/** Every function, on a read replica: a hot standby that follows by streaming replication. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { superuser } from "local-platform/postgres/server";
import { run } from "local-platform/testing/database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { type Claims, differences, hear, hearBoth, type Heard } from "../support/both.ts";
import { argumentsAbout, type Callable, callablesOf, callOf } from "../support/calls.ts";
import { Dice, seed } from "../support/dice.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { setTheStage } from "../support/staged-calls.ts";
import { type Replicated, startReplicated } from "../support/standby.ts";
import { letTimePass } from "../support/time.ts";
import { newcomersOf, unusualUsers } from "../support/unusual-users.ts";
import { withGrants, withHolds } from "../support/accumulated.ts";
import { grant } from "../support/books.ts";
import { about } from "../plans/schedules/schedules.ts";

let both: Replicated;
let functions: Callable[];
let admin: string;
let someone: PopulatedUser;
beforeAll(async () => {
  both = await startReplicated();
  functions = (await callablesOf(both.primary)).filter(({ schema }) => schema === "public");
  admin = await createUser(both.primary, { admin: true });
  someone = await populateUser(both.primary);
});
afterAll(() => both.close());

const self = (sub: string): Claims => ({ sub, role: "authenticated", aud: "authenticated" });
const theAdmin = (): Claims => ({ ...self(admin), app_metadata: { provider: "email", role: "admin" } });
const server: Claims = { role: "service_role" };

/** The guide's table: what works on a replica, and what is refused there. */
function guide(): Record<"works" | "refused", string[]> {
  const text = readFileSync(join(projectRoot, "docs/guides/read-replicas.md"), "utf8");
  const rows = text.split("\n").filter((line) => /^\| (works|refused)/.test(line));
  const named = (kind: string) =>
    rows
      .filter((row) => row.startsWith(`| ${kind}`))
      .flatMap((row) => [...row.split("|")[2]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!))
      .toSorted();
  return { works: named("works"), refused: named("refused") };
}

test("every public function works on a replica as on the primary, or is refused with 25006, as the guide says", async () => {
  const user = someone;
  const own = await setTheStage({ db: both.primary, user });
  // what was sold is counted by the primary's reports
  await asService(both.primary, (client) => rpc(client, "get_token_revenue"));
  await both.caughtUp();
  const found = { works: [] as string[], refused: [] as string[] };
  const wrong: string[] = [];
  let calls = 0;
  for (const fn of functions) {
    const name = fn.name.replace("public.", "");
    const { sql, values } = callOf(fn, { ...argumentsAbout(user, fn), ...own[name] });
    const heard: { there: Heard; here: Heard }[] = [];
    for (const claims of [self(user.id), theAdmin(), server]) {
      const one = await hearBoth(both, claims, sql, values);
      calls++;
      heard.push(one);
      if ("code" in one.here && one.here.code === "25006") continue;
      wrong.push(
        ...differences(plain(one.there), plain(one.here)).map((line) => `${name} ${claims.role}${line}`),
      );
    }
    const isRefused = heard.some(({ here }) => "code" in here && here.code === "25006");
    const isAnswered = heard.some(({ here }) => "answer" in here);
    if (isRefused === isAnswered)
      wrong.push(`${name}: ${JSON.stringify(heard.map(({ here }) => here)).slice(0, 200)}`);
    found[isRefused ? "refused" : "works"].push(name);
  }

  console.log(
    `functions=${functions.length} calls=${calls} work=${found.works.length} refused=${found.refused.length} otherwise=${wrong.length}`,
  );
  expect(wrong).toEqual([]);
  expect(found).toEqual(guide());
});

/** A checkpoint has its moment in its text, and in what it is the digest of. */
const plain = (heard: Heard): unknown =>
  JSON.parse(
    JSON.stringify(heard)
      .replaceAll(/ at \d{4}-[\d:.TZ-]+/g, "")
      .replaceAll(/"digest":"[0-9a-f]{64}"/g, '"digest":""'),
  );

/** What is asked about a user: every function that works on a replica and is about one. */
const asked = () => {
  const { works } = guide();
  return functions.filter(
    ({ name, parameters }) =>
      works.includes(name.replace("public.", "")) && parameters.some((it) => it.name === "p_user_id"),
  );
};

interface Compared {
  calls: number;
  /** With 25006, by what is unusual about the user. */
  refused: string[];
  /** Answered, and otherwise than by the primary. */
  wrong: string[];
}

/** Asks both about each of these users, as the user and as the server. */
async function compare(
  users: readonly (readonly [what: string, user: string])[],
  which = asked(),
): Promise<Compared> {
  await both.caughtUp();
  const found: Compared = { calls: 0, refused: [], wrong: [] };
  for (const [what, id] of users) {
    for (const fn of which) {
      const name = fn.name.replace("public.", "");
      const { sql, values } = callOf(fn, argumentsAbout({ ...someone, id }, fn));
      for (const claims of [self(id), server]) {
        const { there, here } = await hearBoth(both, claims, sql, values);
        found.calls++;
        if (isReadOnly(here)) found.refused.push(`${what}: ${name}, ${here.message}`);
        else found.wrong.push(...differences(plain(there), plain(here)).map((it) => `${what}: ${name}${it}`));
      }
    }
  }
  found.refused = [...new Set(found.refused)];
  return found;
}

const isReadOnly = (heard: Heard): heard is { code: string; message: string } =>
  "code" in heard && heard.code === "25006";

/** Works with a known-bad variant, which then is taken back. */
async function withMutant<T>(name: string, work: () => Promise<T>): Promise<T> {
  const definitions = async () =>
    (
      await both.primary.admin.query<{ oid: number; definition: string }>(
        `select p.oid, pg_get_functiondef(p.oid) as definition from pg_proc p
          where p.pronamespace = 'tokenbook'::regnamespace and p.prokind = 'f'`,
      )
    ).rows;
  const before = await definitions();
  await applyMutant(both.primary, name);
  await both.caughtUp();
  try {
    return await work();
  } finally {
    const now = new Map((await definitions()).map(({ oid, definition }) => [oid, definition]));
    for (const { oid, definition } of before) {
      if (now.get(oid) !== definition) await both.primary.admin.query(definition);
    }
    await both.caughtUp();
  }
}

let unusual: [what: string, user: string][];

test("what is due is counted on a replica as the primary counts it, whatever is unusual about a user", async () => {
  unusual = await unusualUsers(both.primary, new Dice(seed));
  unusual.push(
    ["three portions behind", await withGrants(both.primary, 3_000, { due: true })],
    ["holds of two portions that have run out", await withHolds(both.primary, 400, { due: true })],
    ["more grants than a balance lists", await withGrants(both.primary, 150, { due: false })],
    ["a grant that has begun", await withGrantToCome()],
    ["a debt", await withDebt()],
  );
  const { calls, refused, wrong } = await compare(unusual);

  console.log(
    `users=${unusual.length} calls=${calls} refused=${refused.length} otherwise=${wrong.length} seed=${seed}`,
  );
  expect(wrong).toEqual([]);
  // it books a portion, as lists do that count no further
  expect(refused).toEqual([
    "three portions behind: list_token_team_members, read_only",
    "holds of two portions that have run out: list_token_team_members, read_only",
  ]);
});

test("the trial sees a balance that forgets what is due, and one that books it on a replica", async () => {
  const balance = functions.filter(({ name }) => name === "public.get_user_token_balance");
  const forgets = await withMutant("balance-forgets-what-is-due", () => compare(unusual, balance));
  const books = await withMutant("replicas-book-as-well", () => compare(unusual, balance));

  console.log(
    `forgets what is due: otherwise=${forgets.wrong.length}; books on a replica: refused=${books.refused.length}`,
  );
  expect(forgets.wrong.join("\n")).toContain("get_user_token_balance/answer/0/total_active");
  expect(books.refused.join("\n")).toContain(
    "get_user_token_balance, cannot execute SELECT FOR NO KEY UPDATE in a read-only transaction",
  );
});

async function withGrantToCome(): Promise<string> {
  const user = await createUser(both.primary);
  await about(both.primary, user)("grant_tokens", {
    p_tokens: 70,
    p_grant_type: "purchase",
    p_starts_at: new Date(Date.now() + 3_600_000).toISOString(),
  });
  await letTimePass(both.primary, user, 1);
  return user;
}

/** A user who owes tokens, and has a grant that will have begun. */
async function withDebt(): Promise<string> {
  const user = await withGrantToCome();
  await about(both.primary, user)("set_token_overdraft", { p_tokens: 100, p_reason: "a test" });
  await about(both.primary, user)("track_token_usage", {
    p_action_type: "chat_conversation",
    p_tokens_used: 95,
    p_on_shortage: "overdraft",
  });
  await about(both.primary, user)("grant_tokens", {
    p_tokens: 40,
    p_grant_type: "purchase",
    p_starts_at: new Date(Date.now() + 3_600_000).toISOString(),
  });
  await letTimePass(both.primary, user, 1);
  return user;
}

describe("what has to be written first is refused on a replica, and never counted wrong", () => {
  const balanceOf = (user: string) =>
    hear(both.standby, server, "select public.get_user_token_balance($1) as value", [user]);
  const refused = { code: "25006", message: "read_only" };

  test("more is due than ten calls book: once the primary has booked enough of it, a replica counts the rest", async () => {
    const user = await withGrants(both.primary, 11_500, { due: true });
    await both.caughtUp();
    expect(await balanceOf(user)).toEqual(refused);
    // each call of the primary books a portion
    let portions = 0;
    for (let heard = await balanceOf(user); "code" in heard && portions < 20; portions++) {
      await about(both.primary, user)("get_user_token_balance");
      await both.caughtUp();
      heard = await balanceOf(user);
    }
    expect(portions).toBe(2);
    expect(await balanceOf(user)).toMatchObject({ answer: [{ total_active: 0, total_expired: 11_500 }] });
  });

  test("a user's first plan", async () => {
    const newcomers = await newcomersOf(both.primary, new Dice(seed));
    const found = await compare(newcomers);
    console.log(
      `newcomers=${newcomers.length} calls=${found.calls} refused=${found.refused.length} otherwise=${found.wrong.length}`,
    );
    expect(found.wrong).toEqual([]);
    expect(found.refused).toEqual(
      ["a first touch", "a first touch by a member"].flatMap((what) => [
        `${what}: estimate_tokens, read_only`,
        `${what}: get_user_token_balance, read_only`,
      ]),
    );
    const bad = await withMutant("replicas-give-no-first-plan", () => compare(newcomers));
    expect(bad.wrong.join("\n")).toContain("a first touch: get_user_token_balance/answer/0/total_active");
    await both.primary.admin.query("update public.token_plans set is_default = false where is_default");
  });

  test("a report that has more to add up than one call does", async () => {
    const user = await createUser(both.primary);
    await both.primary.admin.query(
      `insert into public.token_usage (user_id, action_type, model_used, tokens_used, created_at)
       select $1, 'chat', 'small', 1, now() - interval '1 day' - n * interval '1 second' from generate_series(1, 25001) n`,
      [user],
    );
    await both.caughtUp();
    const report = () =>
      hear(both.standby, server, "select public.get_token_usage_by('all', p_user_id => $1) as value", [user]);
    expect(await report()).toEqual(refused);
    // the primary closes the time first, then adds a portion up
    for (let nth = 0; nth < 3; nth++)
      await about(both.primary, user)("get_token_usage_by", { p_bucket: "all" });
    await both.caughtUp();
    expect(await report()).toMatchObject({ answer: [{ rows: [{ uses: 25_001 }] }] });
  });

  test("what was sold is as of what the primary has counted, and of no later moment than the replica has heard of", async () => {
    const user = await createUser(both.primary);
    await grant(both.primary, user, 100, { cost: 1_000 });
    await asService(both.primary, (client) => rpc(client, "get_token_revenue"));
    await both.caughtUp();
    const report = async () => {
      const heard = await hear(both.standby, server, "select public.get_token_revenue() as value", []);
      return (heard as { answer: { as_of: string }[] }).answer[0]!;
    };
    const counted = await report();
    const superuserOf = async (sql: string) => run(both.standby.url(superuser), sql);
    try {
      await superuserOf("select pg_wal_replay_pause()");
      const before = new Date();
      await about(both.primary, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 50 });
      const stale = await report();
      expect(new Date(stale.as_of).getTime()).toBeLessThanOrEqual(before.getTime());
      expect(stale).toEqual(counted);
    } finally {
      await superuserOf("select pg_wal_replay_resume()");
    }
    await both.caughtUp();
    // something is not counted: the last round's answer, and its moment
    const later = await report();
    expect(new Date(later.as_of).getTime()).toBeLessThanOrEqual(new Date(counted.as_of).getTime());
    await asService(both.primary, (client) => rpc(client, "get_token_revenue"));
    await both.caughtUp();
    expect(new Date((await report()).as_of).getTime()).toBeGreaterThan(new Date(counted.as_of).getTime());

    await withMutant("replicas-know-the-present", async () => {
      await superuserOf("select pg_wal_replay_pause()");
      try {
        const before = new Date();
        await about(both.primary, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 });
        expect(new Date((await report()).as_of).getTime()).toBeGreaterThan(before.getTime());
      } finally {
        await superuserOf("select pg_wal_replay_resume()");
      }
    });
  });
});
