// @module-tag proof
/** A counter that the project alters while it is followed: everybody who is asked says so, and what was missed is booked. */
import { expect, test } from "vitest";
import { checkInstallation } from "../../packages/tokenbook/src/data/installation.ts";
import { from, startCounting, type CountedProject } from "./counter.ts";

interface Alteration {
  /** What is written after it. */
  write: string;
  /** In all that says it. */
  fault: string;
  isSeen: boolean;
  /** Whether it was, all the same. */
  isNoted?: true;
  back: string;
}

const alterations: Record<string, Alteration> = {
  "alter table public.profiles rename credits to left_over": {
    write: "update public.profiles set left_over = left_over - 12",
    fault: "public.profiles.credits is gone",
    isSeen: false,
    back: "alter table public.profiles rename left_over to credits",
  },
  "alter table public.profiles rename id to person": {
    write: "update public.profiles set credits = credits - 12",
    fault: "public.profiles.id is gone, which said whose a row is",
    isSeen: false,
    back: "alter table public.profiles rename person to id",
  },
  "alter table public.profiles alter credits drop default, alter credits type text": {
    write: "update public.profiles set credits = credits::numeric - 12",
    fault: "public.profiles.credits is text, and no number",
    isSeen: false,
    isNoted: true,
    back: "alter table public.profiles alter credits type numeric(12, 3) using credits::numeric",
  },
  "create table public.more_profiles () inherits (public.profiles)": {
    write: "update public.profiles set credits = credits - 12",
    fault: "public.profiles is partitioned, or one of several tables of which each is part",
    isSeen: false,
    isNoted: true,
    back: "drop table public.more_profiles",
  },
  "alter table public.profiles rename to people": {
    write: "update public.people set credits = credits - 12",
    fault: "public.profiles is called public.people now",
    isSeen: true,
    back: "alter table public.people rename to profiles",
  },
  "alter table public.profiles rename to people; create table public.profiles as select * from public.people":
    {
      write: "update public.people set credits = credits - 12",
      fault: "public.profiles is called public.people now",
      isSeen: true,
      back: "drop table public.profiles; alter table public.people rename to profiles",
    },
};

const soundness = async ({ db }: CountedProject) =>
  (await checkInstallation(db.admin))
    .filter(({ subject }) => subject === "the shadow")
    .map(({ status, finding, remedy }) => ({ status, finding, remedy }));

test.each(Object.entries(alterations))(
  "%s: shadow, status, doctor and a run that watches say so; stopped or not, the way back is exact",
  async (alteration, { write, fault, isSeen, isNoted = isSeen, back }) => {
    const project = await startCounting(5);
    const { db, users, tokenbook, json, follow, start, net } = project;
    await follow();
    await db.admin.query("update public.profiles set credits = credits - 3");
    const watching = start("shadow", "--watch");
    await watching.says("changes booked");
    await db.admin.query(alteration);
    await db.admin.query(write);

    const watched = await watching.finished;
    expect([watched.status, watched.stderr]).toEqual([2, expect.stringContaining(fault)]);
    for (const args of [[], ["--compare"], ["--start"]]) {
      const { status, stderr } = await tokenbook("shadow", ...args);
      expect([status, stderr], args.join()).toEqual([2, expect.stringContaining(fault)]);
      expect(stderr).toContain("--stop");
    }
    expect((await tokenbook("status")).stdout).toContain(`  shadow      ${fault}`);
    expect((await json("status")).shadow).toMatchObject({ fault: expect.stringContaining(fault), isSeen });
    expect(await soundness(project)).toEqual([
      { status: isSeen ? "warning" : "fault", finding: expect.stringContaining(fault), remedy: null },
    ]);

    const stopped = await tokenbook("shadow", "--stop");
    expect(stopped.stdout).toContain("is followed no more");
    expect(stopped.stdout).toContain(fault);
    expect(stopped.stdout.includes("may have gone unseen, and is not booked then")).toBe(!isSeen);
    expect(stopped.stdout).toContain(
      "npx tokenbook shadow --from public.profiles.credits --user-column id --start",
    );
    expect(await Promise.all(users.map(net))).toEqual(users.map(() => (isNoted ? 850 : 970)));

    await db.admin.query(back);
    expect(await json("shadow", ...from, "--user-column", "id", "--start")).toMatchObject({
      status: 0,
      differing: 0,
    });
    expect(await Promise.all(users.map(net))).toEqual(users.map(() => 850));
    expect(await soundness(project)).toMatchObject([{ status: "ok" }]);

    // and without a stop between
    await db.admin.query(alteration);
    await db.admin.query(write);
    await db.admin.query(back);
    expect(await json("shadow", "--start")).toMatchObject({ status: 0, differing: 0 });
    expect(await Promise.all(users.map(net))).toEqual(users.map(() => 730));
    await project.end();
  },
);

test("what a stop finds that differs it says; of a column that was dropped after the switch it reminds, and no more", async () => {
  const project = await startCounting(2);
  const { db, users, tokenbook, follow, json } = project;
  await follow();
  await db.admin.query("alter table public.profiles disable trigger tokenbook_shadow_update");
  await db.admin.query("update public.profiles set credits = 90 where id = $1", [users[0]]);
  const stopped = await tokenbook("shadow", "--stop");
  expect([stopped.status, stopped.stdout]).toEqual([
    1,
    expect.stringContaining("1 user differs: npx tokenbook shadow --from"),
  ]);
  expect(await json("shadow", ...from, "--start")).toMatchObject({ status: 0, differing: 0 });

  await json("switch", "--yes");
  await db.admin.query("alter table public.profiles drop column credits");
  expect(await soundness(project)).toMatchObject([
    { status: "warning", finding: expect.stringContaining("--stop") },
  ]);
  const ended = await tokenbook("shadow", "--stop");
  expect([ended.status, ended.stdout]).toEqual([0, expect.not.stringContaining("--start")]);
  await project.end();
});

test("the trial of that sees a doctor who does not look", async () => {
  const project = await startCounting(1, "followed-counters-are-not-examined");
  await project.follow();
  await project.db.admin.query("alter table public.profiles rename id to person");
  expect(await soundness(project)).toMatchObject([{ status: "ok" }]);
  await project.db.drop();
});
