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

test("the books follow every writer of the counter, and nothing the app sees changes", () =>
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

test("changes by the books alone are differences, with their cause; so are users without a row and rows without a user", () =>
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

test("a rolled-back write is not followed; a truncation, a row's new user and a dropped column are handled", () =>
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
      expect.stringMatching(
        /^fault: public\.profiles\.credits is gone: if it was renamed, .* --start .* --stop$/,
      ),
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
    // the note is another than what was written
    expect(await tokenbook("shadow", "--stop")).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("1 user differs"),
    });
    expect(await tokenbook("shadow")).toMatchObject({ status: 1 });
  }));

test("followed again, nothing that was booked is booked a second time; what changed meanwhile is", () =>
  withCounter(4, async ({ db, users, json, tokenbook, follow, net }) => {
    const [ann, ben, cid, dan] = users as [string, string, string, string];
    const set = (user: string, credits: number) =>
      db.admin.query("update public.profiles set credits = $2 where id = $1", [user, credits]);
    await follow();
    const fay = await createUser(db);
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 7)", [fay]);
    await set(ann, 90.25);
    await set(ben, 130);
    const nets = () => Promise.all([ann, ben, cid, dan, fay].map(net));
    for (let round = 0; round < 3; round++) {
      await json("shadow");
      expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
      expect(await json("shadow", ...from)).toMatchObject({ status: 0, differing: 0 });
      expect(await json("shadow", ...from, "--start")).toMatchObject({ status: 0, booked: 0, differing: 0 });
      expect(await nets()).toEqual([902, 1300, 1000, 1000, 70]);
    }
    // while nobody follows: the counter changes, and the books by themselves
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    await set(ann, 80.25);
    await asService(db, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: cid, p_tokens_to_deduct: 30 }),
    );
    await db.admin.query("delete from public.profiles where id = $1", [dan]);
    expect(await json("shadow", ...from)).toMatchObject({ status: 1, differing: 3 });
    expect(await json("shadow", ...from, "--start")).toMatchObject({ booked: 2, spent: 1100, differing: 1 });
    expect(await nets()).toEqual([802, 1300, 970, 0, 70]);

    // and after the books were right, whole numbers included, which cut what they have
    await set(cid, 97);
    expect(await json("shadow", "--start")).toMatchObject({ booked: 1, spent: 30 });
    await asService(db, (client) =>
      rpc(client, "grant_tokens", { p_user_id: cid, p_tokens: 30, p_grant_type: "purchase" }),
    );
    await db.admin.query("alter table public.profiles alter column credits type integer");
    expect(await json("switch", "--yes", "--accept-differences")).toMatchObject({ mode: "read_only" });
    await asService(db, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: ben, p_tokens_to_deduct: 104 }),
    );
    const before = [802, 1196, 970, 0, 70];
    expect(await nets()).toEqual(before);
    const stopped = await tokenbook("shadow", "--stop");
    expect(stopped.stdout).toContain("It can be written again");
    expect(await json("shadow", ...from, "--start")).toMatchObject({ booked: 0, spent: 0, granted: 0 });
    expect(await nets()).toEqual(before);
    await db.admin.query("update public.profiles set credits = credits - 1 where id = $1", [ben]);
    expect(await json("shadow")).toMatchObject({ booked: 1, spent: 10 });
    expect(await net(ben)).toBe(1186);
  }));

test("an app that calls Tokenbook for what it writes is charged once: no shadow, and a way to the switch", () =>
  withCounter(3, async ({ db, users, json, tokenbook, net, credits }) => {
    const [ann, ben, cid] = users as [string, string, string];
    expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
    const spend = async (user: string, tokens: number, isWritten: boolean) => {
      await asService(db, (client) =>
        rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
      );
      if (isWritten) {
        await db.admin.query("update public.profiles set credits = credits - $2 where id = $1", [
          user,
          tokens / 10,
        ]);
      }
    };
    await spend(ann, 100, true);
    expect(await json("shadow", ...from)).toMatchObject({ status: 0, differing: 0 });
    const refused = await tokenbook("shadow", ...from, "--start");
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("a second time") });
    const noShadow = await tokenbook("switch", "--yes");
    expect(noShadow.stderr).toContain("npx tokenbook switch --from");
    expect(await tokenbook("switch", ...from, "--yes", "--writable")).toMatchObject({ status: 1 });
    // with --force it begins all the same, and loses nothing
    expect(await json("shadow", ...from, "--start", "--force")).toMatchObject({ booked: 0, differing: 0 });
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    expect(await net(ann)).toBe(900);

    await spend(ben, 50, false); // the code that spends with the books alone
    const differs = await tokenbook("switch", ...from, "--yes");
    expect(differs).toMatchObject({ status: 1, stderr: expect.stringContaining("Nothing was switched") });
    expect(await json("switch", ...from, "--yes", "--accept-differences")).toMatchObject({
      status: 0,
      mode: "read_only",
      booked: 0,
      written: 1,
      differing: 0,
    });
    expect(await Promise.all([ann, ben, cid].map(net))).toEqual([900, 950, 1000]);
    expect(await Promise.all([ann, ben, cid].map(credits))).toEqual([90, 95, 100]);
    const written = db.admin.query("update public.profiles set credits = 1");
    await expect(written).rejects.toThrow("old_counter_is_read_only");
    expect(await tokenbook("switch", ...from, "--yes")).toMatchObject({ status: 1 });
  }));

/** Rows that go twice before a run, and come again in between; what of it all the books have. */
async function truncatedTwice({ db, users, json, net }: CountedProject): Promise<number[]> {
  const [ann, ben] = users as [string, string];
  await db.admin.query("update public.profiles set credits = 70 where id = $1", [ann]);
  // one that cannot be booked, of somebody whom the shadow does not know
  const fay = await createUser(db);
  await db.admin.query("insert into public.profiles (id, credits) values ($1, 3)", [fay]);
  await db.admin.query("update tokenbook.shadow_changes set error = 'trial' where whose = $1", [fay]);
  for (const credits of [10, 5]) {
    await db.admin.query("truncate public.profiles");
    await db.admin.query("insert into public.profiles (id, credits) values ($1, $2)", [ann, credits]);
    await db.admin.query("insert into public.profiles (id, credits) values ($1, $2)", [ben, credits * 2]);
  }
  await json("shadow");
  await json("shadow");
  return Promise.all([ann, ben, fay].map((user) => net(user).catch(() => 0)));
}

test("a user whose row was gone at the start and comes back has what was imported once", () =>
  withCounter(2, async ({ db, users, json, tokenbook, net }) => {
    const ann = users[0]!;
    expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
    await db.admin.query("delete from public.profiles where id = $1", [ann]);
    const started = await json("shadow", ...from, "--start");
    expect(started).toMatchObject({ differing: 1, differences: [{ reasons: ["has no row there"] }] });
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 90)", [ann]);
    expect(await json("shadow")).toMatchObject({ status: 0, spent: 100, differing: 0 });
    expect(await net(ann)).toBe(900);
  }));

test("a connection that is lost ends a run that watches, and says that nothing else is", () =>
  withCounter(1, async ({ db, follow, start, json }) => {
    await follow();
    const watching = start("shadow", "--watch");
    await watching.says("On ");
    await sleep(3_000);
    await db.admin.query(
      "select pg_terminate_backend(a.pid) from pg_stat_activity a where a.application_name = 'tokenbook' and a.datname = current_database()",
    );
    const { status, stderr } = await watching.finished;
    expect([status, stderr]).toEqual([2, expect.stringContaining("Nothing else is")]);
    await db.admin.query("update public.profiles set credits = 1");
    expect(await json("shadow")).toMatchObject({ booked: 1, differing: 0 });
  }));

test("two truncations before a run are booked as they were; a variant counts what went twice", async () => {
  await withCounter(2, async (project) => {
    await project.follow();
    expect(await truncatedTwice(project)).toEqual([50, 100, 0]);
    expect(await project.json("shadow")).toMatchObject({ status: 0, differing: 0 });
  });
  const known = await startCounting(2, "truncations-count-twice");
  await known.follow();
  expect(await truncatedTwice(known)).not.toEqual([50, 100, 0]);
  await known.end();
});

/** A counter of a type that is not exact: what the books have after an import, a change unseen and changes seen. */
async function ofFloats(project: CountedProject, type: string, amount: number): Promise<number[]> {
  const { db, users, json, net } = project;
  const ann = users[0]!;
  await db.admin.query(`alter table public.profiles alter column credits type ${type}`);
  await db.admin.query("update public.profiles set credits = $1", [amount]);
  await project.follow();
  const found: number[] = [await net(ann)];
  for (let nth = 0; nth < 3; nth++) {
    await db.admin.query("update public.profiles set credits = credits - 3 where id = $1", [ann]);
    await json("shadow");
    found.push(await net(ann));
  }
  return found;
}

test("a counter of type real is followed with all of its digits; a variant keeps six", async () => {
  await withCounter(1, async (project) => {
    const { db, users, json, net, credits } = project;
    expect(await ofFloats(project, "real", 1234567)).toEqual([12345670, 12345640, 12345610, 12345580]);
    expect(await json("switch", "--yes", "--writable")).toMatchObject({
      status: 0,
      written: 0,
      differing: 0,
    });
    await asService(db, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: users[0]!, p_tokens_to_deduct: 7 }),
    );
    // what it cannot hold is written as near as it can, once
    expect(await json("shadow")).toMatchObject({ status: 0, written: 1, differing: 0 });
    expect(await json("shadow")).toMatchObject({ status: 0, written: 0, booked: 0, differing: 0 });
    expect(await net(users[0]!)).toBe(12345573);
    expect(Math.abs((await credits(users[0]!)) - 1234557.3)).toBeLessThan(0.13);
  });
  await withCounter(1, async (project) => {
    const found = await ofFloats(project, "double precision", 12345678901.123);
    expect(found).toEqual([123456789011, 123456788981, 123456788951, 123456788921]);
  });
  const known = await startCounting(1, "long-reals-are-cut");
  expect(await ofFloats(known, "real", 1234567)).not.toEqual([12345670, 12345640, 12345610, 12345580]);
  await known.end();
});

test("what cannot be followed is refused in words, and what the command was told is not passed over", () =>
  withCounter(2, async ({ db, users, json, tokenbook, follow, net }) => {
    const ann = users[0]!;
    await db.admin.query(
      "create table public.wallets (owner text, credits integer); insert into public.wallets values ('ann@example.com', 5)",
    );
    const ofWallets = ["--from", "wallets.credits", "--user-column", "owner"];
    expect(await tokenbook("shadow", ...ofWallets, "--start")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("No row of public.wallets is of a user"),
    });
    await follow();
    const said: Record<string, string> = {};
    for (const args of [
      ["--grant-type", "bonus"],
      ["--start", "--grant-type", "bonus"],
      ["--start", "--lifetime-days", "3"],
      ["--times", "7"],
      ["--user-column", "full_name"],
      ["--force"],
      ["--stop", "--from", "wallets.credits", "--user-column", "owner"],
    ]) {
      const { status, stderr } = await tokenbook("shadow", ...args);
      said[args.join(" ")] = `${status} ${stderr.trim().split("\n")[0]}`;
    }
    expect(said).toEqual({
      "--grant-type bonus": "2 --grant-type and --lifetime-days are of the start: --start.",
      "--start --grant-type bonus": expect.stringMatching(/^1 .*--grant-type purchase/),
      "--start --lifetime-days 3": expect.stringMatching(/^1 .*as long as their type/),
      "--times 7": expect.stringMatching(/^1 .*--times 10/),
      "--user-column full_name": expect.stringMatching(/^1 .*--user-column id/),
      "--force": "2 --force goes with --stop or --start.",
      "--stop --from wallets.credits --user-column owner": expect.stringMatching(/^1 .*followed already/),
    });

    // a change that fails, whatever becomes of the column, is named, and given up only when that is asked for
    await db.admin.query("update public.profiles set credits = 999999999 where id = $1", [ann]);
    await db.admin.query("update tokenbook.shadow_changes set amount_after = 1e12");
    await json("shadow");
    await db.admin.query("update public.profiles set credits = 50 where id = $1", [ann]);
    expect(await json("shadow")).toMatchObject({ status: 1, not_booked: { failed: 1 } });
    expect((await tokenbook("shadow")).stdout).toContain(
      "npx tokenbook shadow --start takes what it has now",
    );
    expect(await json("shadow", "--start")).toMatchObject({ status: 0, differing: 0 });
    expect(await net(ann)).toBe(500);
    await db.admin.query("update public.profiles set credits = 60 where id = $1", [ann]);
    await db.admin.query("update tokenbook.shadow_changes set amount_after = 1e12");
    await json("shadow");
    await db.admin.query("alter table public.profiles rename to people");
    expect((await json("status")).shadow).toMatchObject({ isThere: true, failed: 1 });
    expect((await tokenbook("status")).stdout).toContain("public.profiles is called public.people now");
    const stop = await tokenbook("shadow", "--stop");
    expect(stop).toMatchObject({ status: 1, stderr: expect.stringContaining(`${ann}: 50 to 1000000000000`) });
    expect(await tokenbook("shadow", "--stop", "--force")).toMatchObject({ status: 0 });
    const { rows } = await db.admin.query("select from pg_trigger where tgname like 'tokenbook_shadow%'");
    expect(rows).toEqual([]);
    expect(await tokenbook("shadow", "--from", "people.credits", "--watch")).toMatchObject({ status: 1 });
  }));

test("columns may be called anything; and a user who was forgotten is still followed", () =>
  withCounter(2, async ({ db, users, json, tokenbook, net }) => {
    const ann = users[0]!;
    const column = "a $body$ of 100% %I 'credits'";
    await db.admin.query(`alter table public.profiles rename column credits to "${column}"`);
    const named = ["--from", `profiles.${column}`];
    expect(await tokenbook("import", ...named, "--times", "1e1", "--book")).toMatchObject({ status: 0 });
    const fay = await createUser(db);
    await db.admin.query("insert into public.profiles values ($1, null, 4)", [fay]);
    expect(await tokenbook("import", ...named, "--times", "10.0", "--book")).toMatchObject({ status: 0 });
    expect(await json("shadow", ...named, "--start")).toMatchObject({ status: 0, differing: 0 });
    await db.admin.query(`update public.profiles set "${column}" = "${column}" + 5 where id = $1`, [ann]);
    expect(await json("shadow")).toMatchObject({ status: 0, booked: 1, granted: 50 });
    expect(await tokenbook("forget", ann, "--yes")).toMatchObject({ status: 0 });
    const { rows } = await db.admin.query(
      "select t.metadata, t.reason from public.token_transactions t where t.user_id = $1 order by t.id",
      [ann],
    );
    expect(rows).toEqual([
      expect.objectContaining({ metadata: expect.objectContaining({ times: "10" }) }),
      expect.objectContaining({
        metadata: { mirrored_from: `public.profiles.${column}` },
        reason: `mirrored from public.profiles.${column}`,
      }),
    ]);
    expect(await json("shadow")).toMatchObject({ status: 0, differing: 0 });
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
    expect(await json("shadow", ...named, "--start")).toMatchObject({ status: 0, booked: 0, differing: 0 });
    expect(await net(ann)).toBe(1050);
  }));

test("writers that are faster than a run end none", () =>
  withCounter(2, async ({ db, users, json, follow }) => {
    await follow();
    const end = new AbortController();
    let writes = 0;
    const writers = users.map(async (user) => {
      const server = await connectAsServer(db);
      while (!end.signal.aborted) {
        await server.query("update public.profiles set credits = credits + (random() - 0.5) where id = $1", [
          user,
        ]);
        writes++;
      }
      await server.end();
    });
    await sleep(300);
    const begin = performance.now();
    for (const args of [[], ["--start"]]) await json("shadow", ...args);
    const seconds = (performance.now() - begin) / 1000;
    end.abort();
    await Promise.all(writers);
    console.log(`shadow and writers: writes=${writes} seconds=${seconds.toFixed(1)}`);
    expect(seconds).toBeLessThan(60);
    expect(await json("shadow")).toMatchObject({ status: 0, differing: 0 });
  }));

/** An app that books itself what it writes begins a shadow that is killed in the middle; what the books have then. */
async function killedInTheMiddle({
  db,
  users,
  json,
  start,
  tokenbook,
  net,
}: CountedProject): Promise<number> {
  const ann = users[0]!;
  const set = (credits: number) =>
    db.admin.query("update public.profiles set credits = $2 where id = $1", [ann, credits]);
  expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: ann, p_tokens_to_deduct: 200 }),
  );
  await set(80);
  const holder = await connectAsOwner(db);
  await holder.query("begin");
  await holder.query("lock table tokenbook.shadow_balances in share mode");
  const starting = start("shadow", ...from, "--start", "--force");
  await expect
    .poll(async () => (await db.admin.query("select from tokenbook.shadow")).rowCount, { timeout: 20_000 })
    .toBe(1);
  starting.kill("SIGKILL");
  await starting.finished;
  await set(70);
  await holder.query("commit");
  await holder.end();
  await db.admin.query("select tokenbook.book_shadow_changes(10)");
  expect(await json("shadow", ...from, "--start", "--force")).toMatchObject({ differing: 0 });
  return await net(ann);
}

test("a start that was killed in the middle is ended by the next run; a variant that books before it has begun books twice", async () => {
  await withCounter(1, async (project) => {
    expect(await killedInTheMiddle(project)).toBe(700);
  });
  const known = await startCounting(1, "shadows-book-before-they-begin");
  expect(await killedInTheMiddle(known).catch(() => "differing")).not.toBe(700);
  await known.db.drop();
});

/** A row is deleted while the counter is closed, and is back after it is opened again; what the books have then. */
async function backAgain(
  { db, users, json, follow, net }: CountedProject,
  ...how: string[]
): Promise<number> {
  const ann = users[0]!;
  await follow();
  expect(await json("switch", "--yes")).toMatchObject({ mode: "read_only" });
  await db.admin.query("delete from public.profiles where id = $1", [ann]);
  await json("switch", "--yes", ...how);
  await db.admin.query("insert into public.profiles (id, credits) values ($1, 100)", [ann]);
  await json("shadow");
  return await net(ann);
}

test.each(["--writable", "--undo"])(
  "a row that went while the counter was closed, and is back after switch %s, has what the books have; a variant gives it twice",
  async (how) => {
    await withCounter(2, async (project) => {
      expect(await backAgain(project, how)).toBe(1000);
      expect(await project.json("shadow")).toMatchObject({ status: 0, differing: 0 });
    });
    const known = await startCounting(2, "rows-come-back-twice");
    expect(await backAgain(known, how)).toBe(2000);
    await known.end();
  },
);

test("a table of which others are part is not followed: a statement that names a part passes the triggers", () =>
  withCounter(1, async ({ db, tokenbook }) => {
    expect(await tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({ status: 0 });
    await db.admin.query("create table public.more_profiles () inherits (public.profiles)");
    expect(await tokenbook("shadow", ...from, "--start")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("it cannot be followed"),
    });
  }));

test("what a trigger of the project's makes of a balance is said, with both numbers", () =>
  withCounter(1, async ({ db, users, follow, json }) => {
    const ann = users[0]!;
    await follow();
    await db.admin.query(`
      create function public.clamp() returns trigger language plpgsql as
        'begin new.credits := least(new.credits, 120); return new; end';
      create trigger clamp before update on public.profiles for each row execute function public.clamp()`);
    await json("switch", "--yes", "--writable");
    await asService(db, (client) =>
      rpc(client, "grant_tokens", { p_user_id: ann, p_tokens: 500, p_grant_type: "purchase" }),
    );
    expect(await json("shadow")).toMatchObject({
      written: 0,
      not_written: [{ user: ann, why: expect.stringContaining("makes 120.000 of 150") }],
    });
  }));
