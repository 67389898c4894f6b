// @module-tag proof
/** `tokenbook switch`: the books are right, and the project's counter is a copy that stays readable. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { expectSoundInstallation } from "../support/installation.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { connectAsOwner, connectAsServer } from "../support/storm.ts";
import { connectAsPlatform, startCounting, type CountedProject } from "./counter.ts";

const withShadow = async (
  count: number,
  work: (project: CountedProject) => Promise<void>,
  mutant?: string,
) => {
  const project = await startCounting(count, mutant);
  await project.follow();
  await work(project);
  await project.end();
};
const deduct = (db: CountedProject["db"], user: string, tokens: number) =>
  asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
  );

/** What an update of the counter answers to its user. */
const take = (db: CountedProject["db"], user: string, credits: number): Promise<string> =>
  asUser(db, user, (client) => client.query("update profiles set credits = credits - $1", [credits])).then(
    () => "written",
    (error: { code: string; message: string; detail: string }) =>
      `${error.code} ${error.message} ${error.detail}`,
  );

test("read only: the counter says what the books say, and a write of it is refused in words", () =>
  withShadow(3, async ({ db, users, tokenbook, json, net, credits }) => {
    const [ann, ben, cid] = users as [string, string, string];
    await deduct(db, ann, 25);
    const refused = await tokenbook("switch", "--yes");
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("Nothing was switched") });
    expect(refused.stdout).toContain("-25 spent in the books alone");
    expect(await take(db, ben, 1.5)).toBe("written");

    const switched = await json("switch", "--yes", "--accept-differences");
    expect(switched).toMatchObject({ status: 0, mode: "read_only", written: 1, differing: 0 });
    expect(await Promise.all([ann, ben, cid].map(credits))).toEqual([97.5, 98.5, 100]);
    expect(await take(db, ben, 1)).toBe(
      'PT409 old_counter_is_read_only {"table": "public.profiles", "column": "credits"}',
    );
    const server = asService(db, (client) => client.query("select take_credits($1, 1)", [ben]));
    await expect(server).rejects.toThrow("old_counter_is_read_only");
    // what does not change it is none of our business, and nor is who comes or goes
    await asUser(db, ben, (client) =>
      client.query("update profiles set full_name = 'Ben', credits = credits"),
    );
    const fay = await createUser(db);
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 100)", [fay]);
    await db.admin.query("delete from public.profiles where id = $1", [cid]);

    await deduct(db, ben, 7);
    await asService(db, (client) => rpc(client, "grant_tokens", { p_user_id: ann, p_tokens: 1000 }));
    const kept = await json("shadow");
    expect(kept).toMatchObject({ status: 0, booked: 0, written: 3, differing: 0 });
    expect(await Promise.all([ann, ben, fay].map(credits))).toEqual([197.5, 97.8, 0]);
    expect(await Promise.all([ann, ben, cid].map(net))).toEqual([1975, 978, 1000]);
    await expectSoundInstallation(db);

    // the day the column is dropped
    await db.admin.query("alter table public.profiles drop column credits");
    await db.admin.query("update public.profiles set full_name = 'Anna'");
    await deduct(db, ann, 1);
    expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
  }));

/** Whether a write to a read-only counter gets through. */
const getsThrough = async ({ db, users, tokenbook }: CountedProject): Promise<boolean> => {
  expect(await tokenbook("switch", "--yes")).toMatchObject({ status: 0 });
  return (await take(db, users[0]!, 1)) === "written";
};

test("the trial of that sees a counter that can be written all the same", async () => {
  await withShadow(1, async (project) => expect(await getsThrough(project)).toBe(false));
  await withShadow(
    1,
    async (project) => expect(await getsThrough(project)).toBe(true),
    "read-only-counters-are-written",
  );
});

/** After a deduction in the books and a write to the counter: what both say, and again after another run. */
async function bothWays({ db, users, json, net, credits }: CountedProject): Promise<[number, number][]> {
  const ann = users[0]!;
  expect(await json("switch", "--yes", "--writable")).toMatchObject({ status: 0, mode: "writable" });
  await deduct(db, ann, 25);
  expect(await take(db, ann, 10)).toBe("written");
  const found: [number, number][] = [];
  for (let run = 0; run < 2; run++) {
    await json("shadow");
    await json("shadow");
    found.push([await credits(ann), await net(ann)]);
  }
  return found;
}

test("writable: what the books do is written there, what is written there is booked, and neither is an echo", async () => {
  await withShadow(1, async (project) => {
    expect(await bothWays(project)).toEqual([
      [87.5, 875],
      [87.5, 875],
    ]);
  });
  await withShadow(
    1,
    async (project) => {
      const found = await bothWays(project);
      expect(found.every(([, net]) => net === 875)).toBe(false);
    },
    "old-counters-echo",
  );
});

test(
  "both sides written at once, with runs between: in the end they agree, and nothing is lost",
  { timeout: 120_000 },
  () =>
    withShadow(6, async ({ db, users, json, start }) => {
      expect(await json("switch", "--yes", "--writable")).toMatchObject({ status: 0 });
      const end = new AbortController();
      const moved = { counter: 0, books: 0 };
      const workers = [0, 1, 2].map(async (worker) => {
        const server = await connectAsServer(db);
        for (let nth = 0; !end.signal.aborted; nth++) {
          const user = users[(nth * 5 + worker) % users.length]!;
          if ((nth + worker) % 2 === 0) {
            await server.query("update public.profiles set credits = credits - 0.3 where id = $1", [user]);
            moved.counter += 3;
          } else {
            const { rows } = await server.query(
              "select public.deduct_tokens_with_fifo($1, 2, p_action_type => 'chat') as receipt",
              [user],
            );
            if (rows[0].receipt.success) moved.books += 2;
          }
          await sleep(10);
        }
        await server.end();
      });
      const [watching, killed] = [start("shadow", "--watch"), start("shadow", "--watch")];
      await Promise.all([watching.says("On "), killed.says("On ")]);
      await sleep(4_000);
      killed.kill("SIGKILL");
      await sleep(2_000);
      end.abort();
      await Promise.all(workers);
      watching.kill("SIGTERM");
      const { status } = await watching.finished;

      await json("shadow");
      const last = await json("shadow");
      const { rows } = await db.admin.query(
        "select sum(p.credits * 10)::integer as counter, sum(a.tokens_remaining - a.tokens_owed)::integer as books from public.profiles p join public.token_accounts a on a.user_id = p.id",
      );
      console.log(
        `switch storm: moved=${JSON.stringify(moved)} watching=${status} ${JSON.stringify(rows[0])}`,
      );
      expect(last).toMatchObject({ status: 0, differing: 0, booked: 0, written: 0 });
      expect(rows[0]).toEqual({
        counter: 6000 - moved.counter - moved.books,
        books: 6000 - moved.counter - moved.books,
      });
      expect(Math.min(moved.counter, moved.books)).toBeGreaterThan(20);
    }),
);

test("a row that somebody has, or whose trigger refuses, keeps nobody else from theirs, and no deduction waits", () =>
  withShadow(4, async ({ db, users, json, credits }) => {
    const [ann, ben, cid, dan] = users as [string, string, string, string];
    await db.admin.query(`
      create function public.refuse_ben() returns trigger language plpgsql as
        $$ begin if new.id = '${ben}' and new.credits < 100 then raise exception 'not for Ben'; end if; return new; end $$;
      create trigger refuse_ben before update on public.profiles for each row execute function public.refuse_ben();`);
    expect(await json("switch", "--yes")).toMatchObject({ status: 0 });
    const owner = await connectAsOwner(db);
    await owner.query("begin");
    await owner.query("select from public.profiles where id = $1 for update", [ann]);
    const begin = performance.now();
    for (const user of users) await deduct(db, user, 10);
    const seconds = (performance.now() - begin) / 1000;

    const first = await json("shadow");
    expect(first).toMatchObject({ status: 1, written: 2, differing: 2 });
    expect(first.not_written).toEqual([{ user: ben, why: "P0001 not for Ben" }]);
    expect(await Promise.all([ann, ben, cid, dan].map(credits))).toEqual([100, 100, 99, 99]);
    await owner.query("rollback");
    await owner.end();
    await db.admin.query("drop trigger refuse_ben on public.profiles");
    expect(await json("shadow")).toMatchObject({ status: 0, written: 2, not_written: [] });
    expect(seconds).toBeLessThan(5);
  }));

test("back again, and over again: whole numbers cut what the books have, and that is said", () =>
  withShadow(2, async ({ db, users, tokenbook, json, net, credits }) => {
    const [ann, ben] = users as [string, string];
    await db.admin.query("alter table public.profiles alter column credits type integer");
    expect(await json("switch", "--yes")).toMatchObject({ status: 0, mode: "read_only" });
    await deduct(db, ann, 4);
    expect(await json("shadow")).toMatchObject({ status: 0, written: 1 });
    expect(await credits(ann)).toBe(99);

    const back = await json("switch", "--yes", "--undo");
    expect(back).toMatchObject({ status: 1, mode: "shadow", differing: 1 });
    expect(back.differences[0]).toMatchObject({
      user: ann,
      difference: 6,
      reasons: ["-4 spent in the books alone", "the column has no such fractions"],
    });
    expect(await take(db, ann, 1)).toBe("written");
    expect(await take(db, ben, 1)).toBe("written");
    expect(await json("shadow")).toMatchObject({ booked: 2 });
    expect(await Promise.all([ann, ben].map(net))).toEqual([986, 990]);
    expect(await json("shadow", "--start")).toMatchObject({ status: 0, differing: 0 });
    expect(await net(ann)).toBe(980);

    expect(await json("switch", "--yes", "--writable")).toMatchObject({ status: 0, mode: "writable" });
    expect(await json("switch", "--yes")).toMatchObject({ status: 0, mode: "read_only" });
    expect(await json("switch", "--yes", "--writable")).toMatchObject({ status: 0, mode: "writable" });
    expect(await take(db, ben, 9)).toBe("written");
    expect(await json("shadow")).toMatchObject({ status: 0, booked: 1 });
    expect(await net(ben)).toBe(900);
    expect(await tokenbook("shadow", "--start")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("switch --undo"),
    });
    const { rows } = await db.admin.query(
      "select change, details from tokenbook.changes where change like 's%' order by id",
    );
    expect(rows.map(({ change }) => change)).toEqual([
      "shadow",
      "switch",
      "switch",
      "shadow",
      "switch",
      "switch",
      "switch",
    ]);
  }));

/** A trigger of the app's gives another user something where one's counter is written: what both say after runs. */
async function withBonus({ db, users, json, net, credits }: CountedProject): Promise<number[]> {
  const [ann, ben] = users as [string, string];
  await db.admin.query(`
    create function public.give_bonus() returns trigger language plpgsql as
      $$ begin update public.profiles set credits = credits + 5 where id = '${ben}'; return null; end $$;
    create trigger give_bonus after update on public.profiles for each row
      when (new.id = '${ann}' and new.credits is distinct from old.credits) execute function public.give_bonus();`);
  expect(await json("switch", "--yes", "--writable")).toMatchObject({ status: 0 });
  await deduct(db, ann, 10);
  for (let run = 0; run < 3; run++) await json("shadow");
  return [await credits(ann), await net(ann), await credits(ben), await net(ben)];
}

test("what a trigger of the app's writes to another row because of ours is the app's; a variant undoes it", async () => {
  const right = [99, 990, 105, 1050];
  await withShadow(2, async (project) => expect(await withBonus(project)).toEqual(right));
  await withShadow(
    2,
    async (project) => expect(await withBonus(project)).not.toEqual(right),
    "triggers-of-theirs-are-ours",
  );
});

test("the column is written by runs: that is said, until they are late and when it is over", () =>
  withShadow(2, async ({ db, users, tokenbook, json, net, credits }) => {
    const keep = "keep npx tokenbook shadow --watch running until the column is dropped";
    const switched = await tokenbook("switch", "--yes", "--writable");
    expect(switched).toMatchObject({ status: 0, stdout: expect.stringContaining(keep) });
    await deduct(db, users[0]!, 10);
    expect((await json("status")).shadow).toMatchObject({ mode: "writable", not_written: 1 });
    const status = await tokenbook("status");
    expect(status.stdout).toContain("1 balance not written yet");
    expect(status.stdout).toContain(keep);
    await db.admin.query("update tokenbook.shadow set kept_at = now() - interval '20 minutes'");
    const { findings } = await json("doctor");
    expect(findings).toContainEqual(
      expect.objectContaining({
        subject: "the shadow",
        status: "warning",
        finding: expect.stringContaining("written by runs alone"),
      }),
    );
    expect(await json("shadow")).toMatchObject({ written: 1 });
    // all rows twice gone and there again, in one transaction: what the app wrote last is right
    const refill = (ann: number, ben: number) =>
      `truncate public.profiles; insert into public.profiles (id, credits) values ('${users[0]}', ${ann}), ('${users[1]}', ${ben})`;
    await db.admin.query(`begin; ${refill(100, 50)}; ${refill(7, 9)}; commit`);
    expect(await json("shadow")).toMatchObject({ status: 0, written: 0, differing: 0 });
    expect(await Promise.all([...users.map(credits), ...users.map(net)])).toEqual([7, 9, 70, 90]);
    // a truncation that waits is no reason to write what went with it
    await db.admin.query("truncate public.profiles");
    await db.admin.query("insert into public.profiles (id, credits) values ($1, 5)", [users[1]]);
    expect(await json("switch", "--yes", "--undo")).toMatchObject({ mode: "shadow", differing: 0 });
    expect(await credits(users[1]!)).toBe(5);
    expect(await Promise.all(users.map(net))).toEqual([0, 50]);
  }));

test("a column of tens or of parts alone gets what it can hold", () =>
  withShadow(1, async ({ db, users, json, credits }) => {
    await db.admin.query("alter table public.profiles alter column credits type numeric(5, -1)");
    expect(await json("switch", "--yes")).toMatchObject({ status: 0, written: 0 });
    await deduct(db, users[0]!, 95);
    expect(await json("shadow")).toMatchObject({ status: 0, written: 1, differing: 0 });
    expect(await credits(users[0]!)).toBe(90);
    await json("switch", "--yes", "--undo");
    await db.admin.query("alter table public.profiles alter column credits type numeric(2, 4) using 0.0001");
    expect(await json("switch", "--yes", "--accept-differences")).toMatchObject({ status: 0, differing: 0 });
    expect(await credits(users[0]!)).toBe(0.0099);
  }));

test("rows that went while the counter was closed are said to be gone, and nothing of their fractions", () =>
  withShadow(3, async ({ db, users, json, tokenbook }) => {
    await tokenbook("switch", "--yes");
    await db.admin.query("truncate public.profiles");
    const undone = await json("switch", "--undo", "--yes");
    expect(
      undone.differences.map(({ user, reasons }: { user: string; reasons: string[] }) => [user, reasons]),
    ).toEqual(users.map((user) => [user, ["has no row there"]]));
  }));

test("a numeric column gets all digits of the balance", () =>
  withShadow(1, async ({ db, users, json }) => {
    await db.admin.query("alter table public.profiles alter credits type numeric");
    await json("switch", "--yes");
    await asService(db, (client) => rpc(client, "grant_tokens", { p_user_id: users[0]!, p_tokens: 505 }));
    await json("shadow");
    const { rows } = await db.admin.query("select credits::text from public.profiles");
    expect(rows).toEqual([{ credits: "150.5" }]);
  }));

test("the doctor counts what is broken in the books, and not its own words about it", async () => {
  const project = await startCounting(2);
  const { db, users, tokenbook, json, follow } = project;
  await follow();
  const platform = await connectAsPlatform(db);
  await platform.query("set session_replication_role = replica");
  await platform.query("update public.token_accounts set tokens_used = tokens_used + 1 where user_id = $1", [
    users[0],
  ]);
  const { rows } = await platform.query("select from public.verify_token_ledger()");
  await platform.end();
  const { findings } = await json("doctor");
  const faults = findings.filter(
    ({ subject, status }: { subject: string; status: string }) =>
      subject === "the books" && status === "fault",
  );
  expect(rows.length).toBeGreaterThan(0);
  expect(faults).toHaveLength(rows.length);
  expect((await tokenbook("doctor")).stdout).toContain("npx tokenbook verify lists all of the books");
  await db.drop();
});
