// @module-tag proof
/** `tokenbook shadow`: the books beside a counter of the project's, by the real command. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { checkInstallation } from "../../packages/tokenbook/src/data/installation.ts";
import { expectSoundInstallation } from "../support/installation.ts";
import { asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { connectAsOwner, connectAsServer } from "../support/storm.ts";
import { from, startCounting, type CountedProject } from "./counter.ts";

const withCounter = async (count: number, work: (project: CountedProject) => Promise<void>) => {
  const project = await startCounting(count);
  await work(project);
  await project.end();
};

test("whoever writes the counter, the books follow, and nothing the app sees changes", () =>
  withCounter(5, async ({ db, users, tokenbook, json, net }) => {
    const [ann, ben, cid, dan, eve] = users as [string, string, string, string, string];
    expect(await tokenbook("shadow", ...from, "--start")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("Nobody's balance was imported"),
    });
    expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
    await db.admin.query("update public.profiles set credits = 99.5 where id = $1", [ann]); // between the two
    const compared = await json("shadow", ...from);
    expect(compared).toMatchObject({ status: 1, differing: 1, mode: "none" });
    expect(compared.differences[0]).toMatchObject({
      user: ann,
      counter: "99.5",
      books: 1000,
      difference: 5,
      reasons: ["the counter changed since the import"],
    });
    expect(await tokenbook("shadow", ...from, "--start", "--times", "7")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("was imported --times 10"),
    });
    const started = await json("shadow", ...from, "--start");
    expect(started).toMatchObject({ status: 0, booked: 1, spent: 5, differing: 0 });

    await asUser(db, ann, (client) =>
      client.query("update profiles set credits = credits - 1.25, full_name = 'Ann'"),
    );
    await asService(db, (client) =>
      client.query("update profiles set credits = credits + 20 where id = $1", [ben]),
    );
    await asAnon(db, (client) => client.query("select take_credits($1, 104.55)", [cid]));
    await db.admin.query("delete from public.profiles where id = $1", [dan]);
    await asUser(db, eve, (client) => client.query("update profiles set full_name = 'Eve'"));
    const fay = await createUser(db);
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 7)", [fay]);
    await db.admin.query("insert into public.profiles (id, credits) values (gen_random_uuid(), 0.05)");

    const behind = await json("shadow", "--compare");
    expect(behind).toMatchObject({ status: 0, differing: 0, not_booked: { changes: 6, failed: 0 } });
    expect(await net(ann)).toBe(995);
    const followed = await json("shadow");
    expect(followed).toMatchObject({
      status: 0,
      booked: 5,
      unknown: 1,
      differing: 0,
      granted: 270,
      owed: 45,
    });
    expect(await Promise.all([ann, ben, cid, dan, eve, fay].map(net))).toEqual([982, 1200, -45, 0, 1000, 70]);
    expect(await json("shadow")).toMatchObject({ booked: 0, not_booked: { changes: 0 } });
    const { transactions } = await asUser(db, ann, (client) => rpc(client, "get_token_history", {}));
    expect(transactions[0]).toMatchObject({
      action_type: "shadow",
      tokens: -13,
      reason: "mirrored from public.profiles.credits",
    });
    await expectSoundInstallation(db);
  }));

test("what the books do by themselves is a difference, with its cause; so is who has no row or is nobody", () =>
  withCounter(4, async ({ db, users, tokenbook, json, follow }) => {
    const [ann, ben, cid] = users as [string, string, string];
    const stranger = "00000000-0000-4000-8000-00000000000a";
    await follow();
    await asService(db, async (client) => {
      await rpc(client, "grant_tokens", { p_user_id: ann, p_tokens: 500, p_grant_type: "purchase" });
      await rpc(client, "deduct_tokens_with_fifo", { p_user_id: ann, p_tokens_to_deduct: 30 });
      await rpc(client, "grant_tokens", {
        p_user_id: ben,
        p_tokens: 8,
        p_expires_at: "2099-01-01T00:00:00Z",
      });
    });
    await db.admin.query("alter table public.profiles disable trigger tokenbook_shadow_update");
    const doctor = await json("doctor");
    expect(doctor.findings).toContainEqual(
      expect.objectContaining({
        subject: "the shadow",
        status: "fault",
        remedy: "alter table public.profiles enable trigger tokenbook_shadow_update",
      }),
    );
    await db.admin.query("update public.profiles set credits = 90 where id = $1", [cid]);
    await db.admin.query("alter table public.profiles enable trigger tokenbook_shadow_update");
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 3)", [stranger]);

    const found = await json("shadow");
    expect(found).toMatchObject({ status: 1, differing: 4, users: 5 });
    const reasons = Object.fromEntries(
      found.differences.map((one: { user: string; reasons: string[]; difference: number }) => [
        one.user,
        [one.difference, ...one.reasons.toSorted()],
      ]),
    );
    expect(reasons).toEqual({
      [ann]: [470, "+500 granted in the books alone", "-30 spent in the books alone"],
      [ben]: [8, "+8 granted in the books alone"],
      [cid]: [100, "-10 written there unseen: npx tokenbook shadow --start catches up"],
      [stranger]: [-30, "not in auth.users"],
    });
    const text = await tokenbook("shadow");
    expect(text.stdout).toContain("4 users differ");
    expect(text.stdout).toContain("-10 written there unseen");
    const caught = await json("shadow", "--start");
    expect(caught).toMatchObject({ differing: 3, spent: 100 });
    expect(await soundness(db)).toEqual(["ok"]);
  }));

/** What the doctor says of the shadow. */
const soundness = async (db: CountedProject["db"]) =>
  (await checkInstallation(db.admin))
    .filter(({ subject }) => subject === "the shadow")
    .map(({ status, finding }) => (status === "ok" ? status : `${status}: ${finding}`));

/** What a write of the project's meets while something of ours is in its way: how it ended, and after how long. */
async function writeDespite(
  { db, users }: CountedProject,
  inTheWay: string,
): Promise<{ failed: string | null; seconds: number }> {
  const owner = await connectAsOwner(db);
  await owner.query("begin");
  await owner.query(inTheWay);
  const begin = performance.now();
  const failed = await asUser(db, users[0]!, (client) =>
    client.query("update profiles set credits = credits - 1"),
  ).then(
    () => null,
    (error: Error) => error.message,
  );
  const seconds = (performance.now() - begin) / 1000;
  await owner.query("rollback");
  await owner.end();
  return { failed, seconds };
}

const ways = {
  "the notes are locked": "lock table tokenbook.shadow_changes in access exclusive mode",
  "everything of ours is locked":
    "lock table tokenbook.shadow, tokenbook.shadow_changes, tokenbook.shadow_balances, public.token_accounts, public.token_transactions in access exclusive mode",
};

test("the project's write goes through whatever is the matter with us, and what was missed is found", () =>
  withCounter(2, async (project) => {
    const { db, users, json, follow, credits, net } = project;
    await follow();
    const found: Record<string, unknown> = {};
    for (const [name, inTheWay] of Object.entries(ways)) {
      const { failed, seconds } = await writeDespite(project, inTheWay);
      found[name] = [failed, seconds < 1];
    }
    await db.admin.query("alter table tokenbook.shadow_changes rename to elsewhere");
    found["the notes are gone"] = [(await writeDespite(project, "select")).failed, true];
    await db.admin.query("alter table tokenbook.elsewhere rename to shadow_changes");
    // half a million notes, and the accounts of all in somebody's hands
    await db.admin.query(
      "insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after) select 'change', gen_random_uuid()::text, 0, 0 from generate_series(1, 200000)",
    );
    const held = await writeDespite(project, "select from public.token_accounts for update");
    found["there are very many notes"] = [held.failed, held.seconds < 1];
    await db.admin.query("delete from tokenbook.shadow_changes where amount_after = 0");

    console.log(`shadow: ways=${Object.keys(found).length} ${JSON.stringify(found)}`);
    expect(Object.values(found).every((one) => JSON.stringify(one) === "[null,true]")).toBe(true);
    expect(await credits(users[0]!)).toBe(96);
    expect(await json("shadow")).toMatchObject({
      differing: 1,
      differences: [{ user: users[0], reasons: [expect.stringContaining("-3 written there unseen")] }],
    });
    expect(await json("shadow", "--start")).toMatchObject({ status: 0, differing: 0 });
    expect(await net(users[0]!)).toBe(960);
  }));

test("the trial of that sees a shadow whose faults are the project's", async () => {
  const project = await startCounting(1, "shadow-faults-fail-the-project");
  await project.follow();
  const { failed } = await writeDespite(project, ways["the notes are locked"]);
  expect(failed).toContain("lock timeout");
  await project.end();
});

test("a shadow that notes with its caller's rights is seen by what it misses", async () => {
  const project = await startCounting(1, "shadow-notes-as-the-caller");
  await project.follow();
  await asUser(project.db, project.users[0]!, (client) =>
    client.query("update profiles set credits = credits - 1"),
  );
  expect(await project.json("shadow")).toMatchObject({ status: 1, differing: 1, booked: 0 });
  await project.end();
});

test("what is rolled back was not; a truncation, another user of a row and a column that is gone are no accident", () =>
  withCounter(3, async ({ db, users, json, tokenbook, follow, net }) => {
    const [ann, ben, cid] = users as [string, string, string];
    await follow();
    const server = await connectAsServer(db);
    await server.query("begin");
    await server.query("update public.profiles set credits = 0");
    await server.query("rollback");
    await server.query(
      "begin; update public.profiles set credits = 70 where id = $$" +
        ann +
        "$$; savepoint s; update public.profiles set credits = 1; rollback to s; commit",
    );
    await server.end();
    expect(await json("shadow")).toMatchObject({ booked: 1, differing: 0, spent: 300 });

    await db.admin.query("delete from public.profiles where id = $1", [cid]);
    await db.admin.query("update public.profiles set id = $1 where id = $2", [cid, ben]);
    expect(await json("shadow")).toMatchObject({ booked: 3, differing: 0 });
    expect(await Promise.all([ann, ben, cid].map(net))).toEqual([700, 0, 1000]);

    await db.admin.query("update public.profiles set credits = 71 where id = $1", [ann]);
    await db.admin.query("truncate public.profiles");
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 12)", [ben]);
    expect(await json("shadow", "--compare")).toMatchObject({ differing: 0 });
    expect(await json("shadow")).toMatchObject({ status: 0, differing: 0 });
    expect(await Promise.all([ann, ben, cid].map(net))).toEqual([0, 120, 0]);

    // none of these is kept from them
    await db.admin.query("alter table public.profiles alter column credits type double precision");
    await db.admin.query("update public.profiles set credits = 'NaN'");
    expect(await json("shadow")).toMatchObject({ status: 0, differing: 0 });
    expect(await net(ben)).toBe(0);
    await db.admin.query("alter table public.profiles drop column credits");
    await db.admin.query("update public.profiles set full_name = 'Ben'");
    expect(await tokenbook("shadow")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("is gone"),
    });
    expect(await soundness(db)).toEqual([
      "warning: public.profiles.credits is gone, and its shadow is not ended: npx tokenbook shadow --stop",
    ]);
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    const { rows } = await db.admin.query("select from pg_trigger where tgname like 'tokenbook_shadow%'");
    expect(rows).toEqual([]);
  }));

/** Writers, runs that book, and runs that are killed, all at once; and how far apart the two are in the end. */
async function stormOf(
  project: CountedProject,
  kills: number,
): Promise<{ writes: number; bookedAtTheEnd: number; off: number; ended: number[] }> {
  const { db, users } = project;
  const end = new AbortController();
  let writes = 0;
  const newcomers: string[] = [];
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    const server = await connectAsServer(db);
    for (let nth = 0; !end.signal.aborted; nth++) {
      const user = users[(nth * 7 + writer * 3) % users.length]!;
      const change = ((nth * 13 + writer) % 41) - 20.5;
      await server.query("update public.profiles set credits = credits + $2 where id = $1", [user, change]);
      if (nth % 20 === 0) {
        const id = await createUser(db);
        await server.query("insert into public.profiles (id, credits) values ($1, 5)", [id]);
        newcomers.push(id);
      }
      writes++;
      await sleep(10);
    }
    await server.end();
  });
  const ended: number[] = [];
  for (let nth = 0; nth < kills; nth++) {
    const [one, other] = [project.start("shadow", "--watch"), project.start("shadow", "--watch")];
    await Promise.all([one.says("On "), other.says("On ")]);
    await sleep(1_200 + nth * 300);
    one.kill("SIGKILL");
    other.kill("SIGTERM");
    await one.finished;
    ended.push((await other.finished).status!);
  }
  end.abort();
  await Promise.all(writers);
  const last = JSON.parse((await project.tokenbook("shadow", "--json")).stdout);
  const { rows } = await db.admin.query(
    `select sum(abs(trunc(p.credits * 10) - (a.tokens_remaining - a.tokens_owed)))::integer as off
       from public.profiles p join public.token_accounts a on a.user_id = p.id`,
  );
  return { writes, bookedAtTheEnd: last.booked, off: rows[0].off, ended };
}

test(
  "writers, two runs at once and runs that are killed: every change is booked once",
  { timeout: 120_000 },
  () =>
    withCounter(20, async (project) => {
      await project.follow();
      const found = await stormOf(project, 3);
      console.log(`shadow storm: ${JSON.stringify(found)}`);
      expect(found).toMatchObject({ off: 0 });
      expect(found.writes).toBeGreaterThan(100);
      expect(await project.json("shadow")).toMatchObject({ status: 0, differing: 0, booked: 0 });
    }),
);

/** Two runs book the same change, both having seen it before either is done. */
async function bookedTwice({ db }: CountedProject): Promise<number> {
  const user = await createUser(db);
  // known to the shadow, and still without an account, for whose lock both would wait
  await db.admin.query("insert into public.profiles (id, credits) values ($1, 0.01)", [user]);
  await db.admin.query("select tokenbook.book_shadow_changes(10)");
  await db.admin.query("update public.profiles set credits = 5 where id = $1", [user]);
  const [one, other] = [await connectAsOwner(db), await connectAsOwner(db)];
  await one.query("begin");
  await one.query("select tokenbook.book_shadow_changes(10)");
  const waiting = other.query("select tokenbook.book_shadow_changes(10)").catch(() => {});
  await sleep(500);
  await one.query("commit");
  await waiting;
  await one.end();
  await other.end();
  const { rows } = await db.admin.query(
    "select tokens_remaining::integer as tokens from public.token_accounts where user_id = $1",
    [user],
  );
  return rows[0].tokens;
}

test("two runs that meet at one change book it once; a variant without the lock books it twice", async () => {
  const project = await startCounting(1);
  await project.follow();
  expect(await bookedTwice(project)).toBe(50);
  await project.end();
  const known = await startCounting(1, "changes-booked-by-several");
  await known.follow();
  expect(await bookedTwice(known)).toBe(100);
  await known.end();
});

/** Somebody has the lower of two accounts and wants the higher, while a run books both, the higher first. */
async function metHalfWay({ db, users }: CountedProject): Promise<string> {
  const [low, high] = users as [string, string];
  await db.admin.query("update public.profiles set credits = 50 where id = $1", [high]);
  await db.admin.query("update public.profiles set credits = 50 where id = $1", [low]);
  const [server, owner] = [await connectAsServer(db), await connectAsOwner(db)];
  await server.query("begin");
  await server.query("select public.deduct_tokens_with_fifo($1, 1)", [low]);
  const booking = owner.query("select tokenbook.book_shadow_changes(10)").then(
    () => "booked",
    (error: { code: string }) => error.code,
  );
  await sleep(500);
  const deducted = await server.query("select public.deduct_tokens_with_fifo($1, 1)", [high]).then(
    () => "deducted",
    (error: { code: string }) => error.code,
  );
  await server.query("commit");
  const said = `${deducted}, ${await booking}`;
  await server.end();
  await owner.end();
  return said;
}

test("a run waits for nobody who may wait for it; a variant that locks as it goes does", async () => {
  const project = await startCounting(2);
  await project.follow();
  expect(await metHalfWay(project)).toBe("deducted, booked");
  await project.end();
  const known = await startCounting(2, "shadow-locks-as-it-goes");
  await known.follow();
  expect(await metHalfWay(known)).not.toBe("deducted, booked");
  await known.end();
});

test("a change that cannot be booked is said, keeps nobody waiting, and is tried again", () =>
  withCounter(3, async ({ db, users, json, tokenbook, follow, net }) => {
    const [ann, ben] = users as [string, string];
    await follow();
    await db.admin.query("update public.profiles set credits = 999999999 where id = $1", [ann]);
    await db.admin.query("update tokenbook.shadow_changes set amount_after = 1e12");
    await db.admin.query("update public.profiles set credits = 1 where id = $1", [ben]);
    const found = await json("shadow");
    expect(found).toMatchObject({ status: 1, booked: 1, differing: 1, not_booked: { failed: 1 } });
    expect(found.differences[0].reasons[0]).toContain("could not be booked: PT400 invalid_amount");
    expect(await net(ben)).toBe(10);
    expect(await tokenbook("shadow", "--stop")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("1 change could not be booked"),
    });
    const status = await json("status");
    expect(status.shadow).toMatchObject({
      source: "public.profiles.credits",
      mode: "shadow",
      changes: 1,
      failed: 1,
    });
    await db.admin.query("update tokenbook.shadow_changes set amount_after = 200");
    await db.admin.query("update public.profiles set credits = 200 where id = $1", [ann]);
    expect(await json("shadow")).toMatchObject({ booked: 2 });
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    expect(await tokenbook("shadow")).toMatchObject({ status: 1 });
  }));
