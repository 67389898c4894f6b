/** get_token_usage_by: what was used, by time and by model, action or member, however many uses there are. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";

type Fields = Record<string, unknown>;
type Row = Record<string, number | string | null>;
const everyone = "00000000-0000-0000-0000-000000000000";

const report = (db: Database, args: Fields) =>
  asService(db, (client) => rpc(client, "get_token_usage_by", args));
const track = (db: Database, user: string, args: Fields) =>
  asService(db, (client) => rpc(client, "track_token_usage", { p_user_id: user, ...args }));

/** Uses of the past, as they stand in the table; a random one of each kind for each `n`. */
async function plant(db: Database, users: string, count: number, from: string, step: string) {
  await db.admin.query(
    `insert into public.token_usage
       (user_id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate, success, created_at, cached_tokens,
        tokens_uncovered, images, seconds)
     select (array(${users}))[1 + n % cardinality(array(${users}))],
            (array['chat_conversation', 'image_generation', 'rewrite'])[1 + n % 3],
            (array['small', 'large', null, 'other'])[1 + n % 4],
            10 + n % 7, 6 + n % 5, 4, case when n % 11 > 0 then 0.25 end, n % 13 > 0, $1::timestamptz + n * $2::interval,
            n % 3, case when n % 17 = 0 then 2 else 0 end, n % 2, 0.5
       from generate_series(1, $3::integer) n`,
    [from, step, count],
  );
}

/** The same report by a statement that adds up every row. */
async function added(db: Database, user: string, unit: string, column: string, from: string, to: string) {
  const { rows } = await db.admin.query(
    `select date_trunc('${unit}', u.created_at, 'UTC') as starts_at, ${column} as name, count(*)::int as uses,
            count(*) filter (where not u.success)::int as failed_uses,
            coalesce(sum(u.tokens_used - u.tokens_uncovered) filter (where u.success), 0)::float as tokens,
            coalesce(sum(u.tokens_uncovered) filter (where u.success), 0)::float as tokens_uncovered,
            coalesce(sum(u.input_tokens), 0)::float as input_tokens, coalesce(sum(u.output_tokens), 0)::float as output_tokens,
            coalesce(sum(u.cached_tokens), 0)::float as cached_tokens, coalesce(sum(u.reasoning_tokens), 0)::float as reasoning_tokens,
            coalesce(sum(u.images), 0)::float as images, coalesce(sum(u.seconds), 0)::float as seconds,
            coalesce(sum(u.cost_estimate), 0)::float as cost_cents,
            count(*) filter (where u.cost_estimate is null)::int as uses_without_cost
       from public.token_usage u
      where (u.user_id = $1 or u.member_id = $1 or $1 = '${everyone}') and u.action_type not in ('admin_grant', 'admin_deduct')
        and u.created_at >= $2 and u.created_at < $3
      group by 1, 2`,
    [user, from, to],
  );
  return rows.map(({ starts_at, ...row }) => ({ ...row, starts_at: (starts_at as Date).toISOString() }));
}

const names = { model: "model", action: "action_type", member: "member_id" } as const;
const inOrder = (rows: Row[]) =>
  rows.map((row) => JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)))).toSorted();
const plain = (rows: Row[], by: keyof typeof names | "none") =>
  inOrder(
    rows.map(({ starts_at, [by === "none" ? "-" : names[by]]: name = null, ...row }) => ({
      ...row,
      name,
      starts_at: new Date(String(starts_at)).toISOString(),
    })),
  );

/** Asks until the totals have come far enough; what is open in other databases of the server is waited for too. */
async function untilThere(db: Database, args: Fields, onBusy: () => void = () => {}) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const answer = await report(db, args);
    if (answer.rows !== undefined || Date.now() > deadline) return answer;
    onBusy();
    await sleep(20);
  }
}

/** So small portions that a few uses are many: of the functions of this database alone. */
async function withPortionsOf(db: Database, uses: number) {
  await db.admin.query(`
    do $$ begin
      execute replace(pg_get_functiondef('tokenbook.limits()'::regprocedure), '"usage_rows": 25000', '"usage_rows": ${uses}');
    end $$`);
}

describe("a report", () => {
  let db: Database;
  let admin: string;
  let user: string;
  let member: string;
  beforeAll(async () => {
    db = await createDatabase();
    admin = await createUser(db, { admin: true });
    [user, member] = [await createUser(db), await createUser(db)];
    await grant(db, user, 1_000_000);
    await asService(db, (client) =>
      rpc(client, "set_token_model_price", {
        p_model: "priced",
        p_price: { input_cents_per_million: 1_000_000, output_cents_per_million: 2_000_000 },
        p_reason: "a price",
      }),
    );
    await asService(db, (client) =>
      rpc(client, "add_token_team_member", { p_user_id: user, p_member_id: member }),
    );
    await track(db, user, {
      p_action_type: "chat",
      p_model_used: "priced",
      p_input_tokens: 30,
      p_output_tokens: 10,
    });
    await track(db, user, { p_action_type: "chat", p_model_used: "nobody_knows", p_input_tokens: 5 });
    await track(db, user, { p_action_type: "draw", p_tokens_used: 100, p_images: 2, p_success: false });
    await track(db, member, { p_action_type: "chat", p_model_used: "priced", p_input_tokens: 7 });
    await asService(db, (client) =>
      rpc(client, "adjust_tokens", { p_user_id: user, p_delta: -50, p_reason: "wrong" }),
    );
  });
  afterAll(() => db.drop());

  test("says what was used, by model, action and member, without an admin's corrections", async () => {
    const { rows, bucket, by } = await report(db, { p_user_id: user, p_bucket: "all", p_by: "model" });
    expect([bucket, by]).toEqual(["all", "model"]);
    expect(rows).toMatchObject([
      {
        model: "priced",
        uses: 2,
        failed_uses: 0,
        tokens: 47,
        input_tokens: 37,
        output_tokens: 10,
        cost_cents: 57,
        uses_without_cost: 0,
      },
      { model: "nobody_knows", uses: 1, tokens: 5, cost_cents: 0, uses_without_cost: 1 },
      { model: null, uses: 1, failed_uses: 1, tokens: 0, images: 2, uses_without_cost: 1 },
    ]);
    expect((await report(db, { p_user_id: user, p_bucket: "month", p_by: "action" })).rows).toMatchObject([
      { action_type: "chat", uses: 3, tokens: 52 },
      { action_type: "draw", uses: 1, tokens: 0 },
    ]);
    expect((await report(db, { p_user_id: user, p_by: "member" })).rows).toMatchObject([
      { member_id: null, tokens: 45 },
      { member_id: member, tokens: 7 },
    ]);
    expect((await report(db, { p_user_id: user, p_bucket: "week" })).rows).toMatchObject([
      { uses: 4, tokens: 52 },
    ]);
    expect((await report(db, { p_for_everyone: true, p_bucket: "hour" })).rows).toMatchObject([
      { uses: 4, tokens: 52 },
    ]);
  });

  test("tells users what they used themselves, and not what it cost", async () => {
    const own = async (id: string, args: Fields = {}) =>
      (await asUser(db, id, (client) => rpc(client, "get_token_usage_by", args))).rows;
    expect(await own(user)).toMatchObject([{ uses: 4, tokens: 52 }]);
    expect(await own(member)).toMatchObject([{ uses: 1, tokens: 7 }]);
    expect(Object.keys((await own(user))[0]).filter((key) => /cost|margin|worth/.test(key))).toEqual([]);
    await expect(own(user, { p_cents_per_million_tokens: 1 })).rejects.toMatchObject({
      message: "invalid_report",
    });
    await expect(own(member, { p_user_id: user })).rejects.toMatchObject({ code: "42501" });
    await expect(own(member, { p_for_everyone: true })).rejects.toMatchObject({ code: "42501" });
    await expect(asAnon(db, (client) => rpc(client, "get_token_usage_by"))).rejects.toMatchObject({
      code: "42501",
    });
  });

  test("has the margin at the price that is said, for an admin and the server", async () => {
    const asked = { p_user_id: user, p_bucket: "all", p_cents_per_million_tokens: 2_000_000 };
    const [row] = (await asAdmin(db, admin, (client) => rpc(client, "get_token_usage_by", asked))).rows;
    expect(row).toMatchObject({ tokens: 52, cost_cents: 57, worth_cents: 104, margin_cents: 47 });
  });

  test("has whole buckets in UTC, whatever the caller's time zone", async () => {
    const answer = await asService(db, async (client) => {
      await client.query("set local timezone = 'Asia/Kathmandu'");
      return await rpc(client, "get_token_usage_by", {
        p_user_id: user,
        p_bucket: "month",
        p_from: "2026-02-17T13:14:15Z",
        p_to: "2026-03-01T00:00:00Z",
      });
    });
    expect(answer).toEqual({
      bucket: "month",
      by: "none",
      from: "2026-02-01T00:00:00+00:00",
      to: "2026-03-01T00:00:00+00:00",
      rows: [],
    });
  });

  test.each<[string, Fields, string]>([
    ["a bucket that is none", { p_bucket: "year" }, "p_bucket"],
    ["no bucket", { p_bucket: null }, "p_bucket"],
    ["groups that are none", { p_by: "user" }, "p_by"],
    ["no groups", { p_by: null }, "p_by"],
    ["members of everyone", { p_by: "member", p_for_everyone: true }, "p_by"],
    ["neither everyone nor not", { p_for_everyone: null }, "p_for_everyone"],
    ["an end before its beginning", { p_from: "2026-02-01", p_to: "2026-01-01" }, "p_from"],
    ["no time at all", { p_from: "2026-02-01", p_to: "2026-02-01" }, "p_from"],
    ["all time", { p_from: "-infinity" }, "p_from"],
    ["no end", { p_to: "infinity" }, "p_from"],
    ["401 days", { p_from: "2025-01-01", p_to: "2026-02-06" }, "p_from"],
    ["32 days by hour", { p_bucket: "hour", p_from: "2026-01-01", p_to: "2026-02-02" }, "p_from"],
    ["a price below 0", { p_cents_per_million_tokens: -1 }, "p_cents_per_million_tokens"],
    ["no number for a price", { p_cents_per_million_tokens: "NaN" }, "p_cents_per_million_tokens"],
  ])("of %s is refused, by name", async (_, args, field) => {
    const error = await report(db, { p_user_id: user, ...args }).then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ code: "PT400", message: "invalid_report" });
    expect(JSON.parse(error!.detail)).toMatchObject({ field, rule: expect.any(String) });
  });

  test("needs a user, or everyone said", async () => {
    await expect(report(db, {})).rejects.toMatchObject({ message: "invalid_user_id" });
    await expect(report(db, { p_user_id: everyone })).rejects.toMatchObject({ message: "user_not_found" });
  });

  test("has at most 5000 rows", async () => {
    const many = await createUser(db);
    await db.admin.query(
      `insert into public.token_usage (user_id, action_type, model_used, created_at)
       select $1, 'chat', 'm' || n, '2026-01-01' from generate_series(1, 5001) n`,
      [many],
    );
    const asked = { p_user_id: many, p_by: "model", p_from: "2026-01-01", p_to: "2026-01-02" };
    await expect(report(db, asked)).rejects.toMatchObject({ message: "invalid_report" });
    expect((await report(db, { ...asked, p_by: "none" })).rows).toMatchObject([{ uses: 5001 }]);
  });
});

/** Plants uses, asks until the answer is there, and compares it with every row added up, in every form. */
async function compare(db: Database): Promise<{ asked: number; busy: number; different: string[] }> {
  await withPortionsOf(db, 200);
  const [one, two] = [await createUser(db), await createUser(db)];
  const from = "2026-03-01T00:00:00.000Z";
  const to = "2026-06-01T00:00:00.000Z";
  await plant(db, `select '${one}'::uuid union all select '${two}'`, 3_000, from, "41 minutes");
  await db.admin.query(
    "update public.token_usage set member_id = $2 where user_id = $1 and images = 1 and cached_tokens = 2",
    [one, two],
  );
  let [asked, busy] = [0, 0];
  const different: string[] = [];
  for (const user of [one, two, everyone]) {
    for (const unit of ["hour", "day", "week", "month"] as const) {
      for (const by of ["none", "model", "action", "member"] as const) {
        if (user === everyone && by === "member") continue;
        const [start, end] =
          unit === "hour" ? ["2026-05-02T00:00:00.000Z", "2026-05-30T00:00:00.000Z"] : [from, to];
        // weeks are whole ones, and so is what they are compared with
        const [first, last] =
          unit === "week" ? ["2026-02-23T00:00:00.000Z", "2026-06-01T00:00:00.000Z"] : [start, end];
        const args = {
          ...(user === everyone ? { p_for_everyone: true } : { p_user_id: user }),
          p_bucket: unit,
          p_by: by,
          p_from: first,
          p_to: last,
        };
        const answer = await untilThere(db, args, () => (busy += 1));
        asked += 1;
        const column = {
          none: "null",
          model: "u.model_used",
          action: "u.action_type",
          member: "u.member_id",
        }[by];
        const expected = inOrder(await added(db, user, unit, column, first, last));
        if (JSON.stringify(plain(answer.rows ?? [], by)) !== JSON.stringify(expected)) {
          different.push(`${user === everyone ? "everyone" : "a user"} ${unit} ${by}`);
        }
        await track(db, one, { p_action_type: "chat", p_model_used: "small", p_tokens_used: 0 });
      }
    }
  }
  return { asked, busy, different };
}

test("every form of it says what all rows say, added up in portions while others are used", async () => {
  const db = await createDatabase();
  try {
    const { asked, busy, different } = await compare(db);
    console.log(`reports: ${asked} compared, ${busy} times busy, ${different.length} different`);
    expect(different).toEqual([]);
    expect(busy).toBeGreaterThan(10);
    const { rows } = await db.admin.query("select count(*)::int as marks from tokenbook.usage_marks");
    expect(rows).toEqual([{ marks: 3 }]);
  } finally {
    await db.drop();
  }
});

/** A use whose transaction stays open while a report of everyone adds up what is younger. */
async function lateUse(db: Database): Promise<number> {
  await withPortionsOf(db, 10);
  const [late, busy] = [await createUser(db), await createUser(db)];
  const open = await db.admin.connect();
  try {
    await open.query("begin");
    await open.query(
      "insert into public.token_usage (user_id, action_type, tokens_used, created_at) values ($1, 'chat', 1, now() - interval '10 minutes')",
      [late],
    );
    await plant(db, `select '${busy}'::uuid`, 27, new Date(Date.now() - 1_200_000).toISOString(), "1 second");
    const asked = {
      p_for_everyone: true,
      p_bucket: "all",
      p_from: new Date(Date.now() - 86_400_000).toISOString(),
    };
    for (let nth = 0; nth < 6; nth += 1) await report(db, asked);
    await open.query("commit");
    const answer = await untilThere(db, asked);
    return answer.rows[0].uses;
  } finally {
    open.release();
    await db.drop();
  }
}

test("a use that is committed late is counted", async () => {
  expect(await lateUse(await createDatabase())).toBe(28);
});

test("variants that lose uses, or count them twice, are caught", { tags: ["proof"] }, async () => {
  const caught: Record<string, boolean> = {};
  for (const mutant of ["uses-closed-at-once", "uses-counted-twice"]) {
    const db = await createDatabase();
    await applyMutant(db, mutant);
    if (mutant === "uses-closed-at-once") {
      caught[mutant] = (await lateUse(db)) !== 28;
    } else {
      caught[mutant] = (await compare(db)).different.length > 0;
      await db.drop();
    }
  }
  console.log(`caught: ${JSON.stringify(caught)}`);
  expect(caught).toEqual({ "uses-closed-at-once": true, "uses-counted-twice": true });
});

/** The figures of docs/guides/usage-reports.md. */
test(
  "a million uses are told of within 300 ms, of one user and of everyone",
  { tags: ["proof"], timeout: 300_000 },
  async () => {
    const db = await createDatabase();
    try {
      const heavy = await createUser(db);
      const from = "2026-05-01T00:00:00.000Z";
      // in May: of one user 1,000,000 uses, and of ten others as many together
      await plant(db, `select '${heavy}'::uuid`, 1_000_000, from, "2.6 seconds");
      await plant(db, "select gen_random_uuid() from generate_series(1, 10)", 1_000_000, from, "2.6 seconds");
      await db.admin.query("vacuum analyze public.token_usage");
      const figures: Record<string, number> = {};
      for (const [name, args] of [
        ["of one user", { p_user_id: heavy }],
        ["of everyone", { p_for_everyone: true }],
      ] as const) {
        const asked = {
          ...args,
          p_bucket: "day",
          p_by: "model",
          p_from: from,
          p_to: "2026-06-01T00:00:00.000Z",
        };
        let calls = 1;
        const busy: number[] = [];
        let begun = performance.now();
        let answer = await report(db, asked);
        for (; answer.rows === undefined; calls += 1) {
          busy.push(performance.now() - begun);
          begun = performance.now();
          answer = await report(db, asked);
        }
        figures[`${name}: calls until the first answer`] = calls;
        busy.sort((a, b) => a - b);
        figures[`${name}: busy, median ms`] = Math.round(busy[busy.length >> 1]!);
        figures[`${name}: busy, slowest ms`] = Math.round(busy.at(-1)!);
        const times: number[] = [];
        for (let nth = 0; nth < 15; nth += 1) {
          begun = performance.now();
          answer = await report(db, asked);
          times.push(performance.now() - begun);
        }
        times.sort((a, b) => a - b);
        figures[`${name}: median, ms`] = Math.round(times[7]!);
        figures[`${name}: slowest, ms`] = Math.round(times[14]!);
        const uses = (answer.rows as Row[]).reduce((sum, row) => sum + Number(row.uses), 0);
        expect(uses).toBe(name === "of one user" ? 1_000_000 : 2_000_000);
        expect(times[7]).toBeLessThan(300);
      }
      console.log(`a million uses: ${JSON.stringify(figures)}`);
    } finally {
      await db.drop();
    }
  },
);
