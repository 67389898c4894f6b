import { afterAll, beforeAll, expect, test } from "vitest";
import { measureReplay } from "../../../scripts/bench/measure-replay.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, rpc } from "../../support/roles.ts";
import { oldUser } from "./old-user.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

/** A user's replay: each grant's figures by its id, and what no grant covered. */
async function replay(user: string) {
  const { rows } = await db.admin.query(
    `select grant_id, exact::int, stored::int, difference::int, uncovered::int
       from public.replay_token_balances($1)`,
    [user],
  );
  return {
    grants: new Map(
      rows
        .filter((row) => row.grant_id !== null)
        .map((row) => [row.grant_id, [row.exact, row.stored, row.difference]]),
    ),
    uncovered: rows.filter((row) => row.grant_id === null).map((row) => row.uncovered),
  };
}

test.each(["old transactions", "the trail of usage"])(
  "the published example: 600,000 granted, 432,778 used, 167,222 left, from %s",
  async (source) => {
    const used: [number, string][] = [
      [363_843, "20 days"],
      [68_935, "10 days"],
    ];
    const { user, grantIds } = await oldUser(db, {
      grants: [
        { tokens: 100_000, granted: "40 days" },
        { tokens: 500_000, granted: "30 days" },
      ],
      ...(source === "old transactions" ? { deductions: used } : { usage: used }),
    });

    const { grants, uncovered } = await replay(user);

    console.log(`${source}: ${JSON.stringify([...grants.values()])}`);
    expect(grants).toEqual(
      new Map([
        [grantIds[0], [0, 100_000, 100_000]],
        [grantIds[1], [167_222, 500_000, 332_778]],
      ]),
    );
    expect(uncovered).toEqual([]);
  },
);

test("what was used after a grant had run out was paid by the next one", async () => {
  const { user, grantIds } = await oldUser(db, {
    grants: [
      { tokens: 100, granted: "40 days", expires: "-20 days", stored: 0 },
      { tokens: 100, granted: "30 days" },
    ],
    deductions: [
      [30, "25 days"],
      [30, "15 days"],
    ],
  });

  expect((await replay(user)).grants).toEqual(
    new Map([
      [grantIds[0], [0, 0, 0]],
      [grantIds[1], [70, 100, 30]],
    ]),
  );
});

test("what was used before anything was granted is uncovered, and takes nothing from later grants", async () => {
  const { user, grantIds } = await oldUser(db, {
    grants: [{ tokens: 100, granted: "10 days" }],
    deductions: [[30, "25 days"]],
  });

  expect(await replay(user)).toEqual({ grants: new Map([[grantIds[0], [100, 100, 0]]]), uncovered: [30] });
});

test("tokens that were given too much and have been spent since are uncovered", async () => {
  const { user, grantIds } = await oldUser(db, {
    grants: [{ tokens: 100, granted: "10 days" }],
    deductions: [[80, "5 days"]],
  });
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 50 }),
  );

  expect(await replay(user)).toEqual({ grants: new Map([[grantIds[0], [0, 50, 50]]]), uncovered: [30] });
});

test("a grant that the old app made has paid what it says, and is believed", async () => {
  const { user, grantIds } = await oldUser(db, {
    grants: [
      { tokens: 100, granted: "10 days", stored: 60, byTheApp: true },
      { tokens: 100, granted: "8 days" },
    ],
    deductions: [[70, "5 days"]],
  });

  expect((await replay(user)).grants).toEqual(
    new Map([
      [grantIds[0], [60, 60, 0]],
      [grantIds[1], [70, 100, 30]],
    ]),
  );
});

test.each(["-500", "+500"])("a repair by reconciliation (%s) settles what was before it", async (delta) => {
  const { user } = await oldUser(db, {
    grants: [{ tokens: 1_000, granted: "10 days" }],
    deductions: [[800, "5 days"]],
  });
  await asService(db, (client) =>
    rpc(client, "adjust_tokens", {
      p_user_id: user,
      p_delta: Number(delta),
      p_reason: "reconciliation: by hand",
    }),
  );
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 100 }),
  );

  const { grants, uncovered } = await replay(user);

  expect([...grants.values()].every(([exact, stored]) => exact === stored && stored! > 0)).toBe(true);
  expect(uncovered).toEqual([]);
});

test("of a grant that has run out nothing is missing, booked or not", async () => {
  const { user } = await oldUser(db, {
    grants: [{ tokens: 100, granted: "10 days", expires: "-1 minute" }],
    deductions: [[70, "5 days"]],
  });

  expect([...(await replay(user)).grants.values()]).toEqual([[0, 0, 0]]);
});

test("one user, everyone, and everyone in pieces are the same", async () => {
  const order = "order by user_id, grant_id";
  const { rows: everyone } = await db.admin.query(`select * from public.replay_token_balances() ${order}`);
  const { rows: single } = await db.admin.query(
    `select r.* from public.token_accounts a cross join lateral public.replay_token_balances(a.user_id) r ${order}`,
  );
  const middle = "40000000-0000-0000-0000-000000000000";
  const { rows: pieces } = await db.admin.query(
    `select * from public.replay_token_balances(p_until => $1) union all select * from public.replay_token_balances(p_after => $1) ${order}`,
    [middle],
  );

  expect(everyone.length).toBeGreaterThan(5);
  expect(single).toEqual(everyone);
  expect(pieces).toEqual(everyone);
});

test("a replay changes nothing, and no user may see it", async () => {
  const { user } = await oldUser(db, { grants: [{ tokens: 100, granted: "10 days" }] });
  await expect(
    asUser(db, user, (client) => client.query("select * from public.replay_token_balances($1)", [user])),
  ).rejects.toMatchObject({ code: "42501", message: "forbidden" });

  const client = await db.admin.connect();
  await client.query("begin read only");
  const { rows } = await client.query("select count(*)::int from public.replay_token_balances()");
  await client.query("rollback");
  client.release();
  expect(rows[0].count).toBeGreaterThan(0);
});

test(
  "replaying everyone finds what each of them has too much",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const bench = await createDatabase();
    const client = await bench.admin.connect();
    const measured = await measureReplay(client, 2_000);
    client.release();
    await bench.drop();

    console.log(measured.lines.join("\n"));
    expect(measured.breaches).toBe(0);
    // every tenth user opens with 1,800 tokens too much
    expect(measured.overGranted).toBe(200 * 1_800);
  },
);
