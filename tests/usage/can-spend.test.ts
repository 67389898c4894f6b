/** What policies of the project's own tables ask: whether a user could spend so many tokens, and which plan they have. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { Dice, seed } from "../support/dice.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { memberOf, newcomersOf, unusualUsers } from "../support/unusual-users.ts";
import { about, setPlan } from "../plans/schedules/schedules.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

/** Whether they are told that they can spend it, whether a quote says so, and whether they then could; nothing is kept. */
async function answers(of: Database, user: string, tokens: number): Promise<[boolean, boolean, boolean]> {
  return await asUser(of, user, async (client) => {
    const said = await rpc(client, "can_spend_tokens", { p_tokens: tokens });
    await client.query("savepoint before");
    const quote = await rpc(client, "estimate_tokens", {
      p_action_type: "chat_conversation",
      p_tokens_used: tokens,
    });
    await client.query("rollback to before");
    const spent = await rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: tokens,
    }).catch((error: { message: string }) => {
      if (error.message !== "account_frozen") throw error;
      return { success: false };
    });
    await client.query("rollback to before");
    return [said, quote.sufficient, spent.success];
  });
}

/** The most that they could spend, as a quote has it. */
async function mostOf(of: Database, user: string): Promise<number> {
  const beyond = 1_000_000;
  const quote = await asUser(of, user, async (client) => {
    await client.query("savepoint before");
    const quoted = await rpc(client, "estimate_tokens", {
      p_action_type: "chat_conversation",
      p_tokens_used: beyond,
    });
    await client.query("rollback to before");
    return quoted;
  });
  return beyond - quote.tokens_short;
}

/** Asks of every case about the most that they can spend, one more, and amounts of chance: where the answers are not one. */
async function disagreements(mutant?: string): Promise<{ asked: number; could: number; wrong: string[] }> {
  const of = await createDatabase();
  try {
    const dice = new Dice(seed);
    const users = [...(await unusualUsers(of, dice)), ...(await newcomersOf(of, dice))];
    if (mutant !== undefined) await applyMutant(of, mutant);

    let [asked, could] = [0, 0];
    const wrong: string[] = [];
    const caps = [
      ["", {}],
      ["a cap of the plan: ", { p_window: "week", p_tokens: 30, p_plan_type: "capped" }],
      ["a cap of the trial: ", { p_window: "day", p_tokens: 35, p_plan_type: "trial" }],
      ["a cap for everyone: ", { p_window: "month", p_tokens: 25, p_for_everyone: true }],
    ] as const;
    for (const [phase, cap] of caps) {
      if (phase !== "") await asService(of, (client) => rpc(client, "set_token_spend_cap", cap));
      for (const [name, user] of users) {
        const most = await mostOf(of, user);
        for (const tokens of new Set([1, Math.max(most, 1), most + 1, 1 + dice.below(150)])) {
          const [said, quoted, spent] = await answers(of, user, tokens);
          asked++;
          if (spent) could++;
          if (said !== spent || quoted !== spent)
            wrong.push(`${phase}${name}: ${tokens} of ${most}: said ${said}, quoted ${quoted}, was ${spent}`);
        }
      }
    }
    return { asked, could, wrong };
  } finally {
    await of.drop();
  }
}

test(
  "whether somebody can spend is what a deduction then does, and a quote says",
  { timeout: 120_000 },
  async () => {
    const { asked, could, wrong } = await disagreements();

    console.log(`asked=${asked} could=${could} disagreements=${wrong.length} seed=${seed}`);
    expect(wrong).toEqual([]);
    expect(could).toBeGreaterThan(asked / 5);
    expect(could).toBeLessThan(asked * 0.8);
  },
);

test.each([
  "can-spend-when-frozen",
  "can-spend-for-frozen-members",
  "can-spend-what-has-run-out",
  "can-spend-as-booked",
  "can-spend-beyond-caps",
  "trials-begin-for-anybody",
])("the trial sees %s", { tags: ["proof"], timeout: 120_000 }, async (mutant) => {
  const { asked, wrong } = await disagreements(mutant);

  console.log(`${mutant}: asked=${asked} disagreements=${wrong.length}`);
  expect(wrong.length).toBeGreaterThan(0);
});

/** What everybody is told of a user who has tokens and the plan starter. */
async function told(mutant?: string): Promise<Record<string, boolean[]>> {
  const of = await createDatabase();
  if (mutant !== undefined) await applyMutant(of, mutant);
  const user = await createUser(of);
  const other = await createUser(of);
  const admin = await createUser(of, { admin: true });
  const gone = await createUser(of);
  await about(of, user)("change_token_plan", { p_plan_type: "starter" });
  await about(of, gone)("change_token_plan", { p_plan_type: "starter" });
  await of.admin.query("update auth.users set deleted_at = now() where id = $1", [gone]);
  const ask = (whom: string) => async (client: Parameters<typeof rpc>[0]) => [
    await rpc(client, "can_spend_tokens", { p_user_id: whom }),
    await rpc(client, "has_token_plan", { p_plan_type: "starter", p_user_id: whom }),
  ];
  const own = async (client: Parameters<typeof rpc>[0]) => [
    await rpc(client, "can_spend_tokens"),
    await rpc(client, "has_token_plan", { p_plan_type: "starter" }),
  ];
  const heard = {
    themself: await asUser(of, user, own),
    "themself by name": await asUser(of, user, ask(user)),
    another: await asUser(of, other, ask(user)),
    "another of nobody": await asUser(of, other, ask("00000000-0000-4000-8000-00000000dead")),
    admin: await asAdmin(of, admin, ask(user)),
    server: await asService(of, ask(user)),
    "an API key": await asUser(of, { role: "authenticated", aud: "authenticated" }, own),
    "a deleted user": await asUser(of, gone, own),
    "server of a deleted user": await asService(of, ask(gone)),
    "server of nobody": await asService(of, ask("00000000-0000-4000-8000-00000000dead")),
  };
  await of.drop();
  return heard;
}

test("of somebody else's tokens and plan admins and the server are told, and nobody else", async () => {
  expect(await told()).toEqual({
    themself: [true, true],
    "themself by name": [true, true],
    another: [false, false],
    "another of nobody": [false, false],
    admin: [true, true],
    server: [true, true],
    "an API key": [false, false],
    "a deleted user": [false, false],
    "server of a deleted user": [true, true],
    "server of nobody": [false, false],
  });
  await expect(
    asAnon(db, (client) => client.query("select public.can_spend_tokens()")),
  ).rejects.toMatchObject({
    code: "42501",
  });
});

test("that trial sees who is not asked", { tags: ["proof"] }, async () => {
  expect((await told("can-spend-asks-nobody"))["another"]).toEqual([true, false]);
  expect((await told("plans-of-anybody"))["another"]).toEqual([false, true]);
});

/** What a user, and a member of their team, is told of a plan while its month runs, after it, and once it was changed. */
async function plansOf(of: Database): Promise<Record<string, [boolean, boolean]>> {
  await setPlan(of, "pro", { tokens: 100, billing_cycle: "monthly" });
  const user = await createUser(of);
  const member = await memberOf(of, user);
  const has = async (): Promise<[boolean, boolean]> => {
    const ask = (who: string) =>
      asUser(of, who, (client) => rpc(client, "has_token_plan", { p_plan_type: "pro" }));
    return [await ask(user), await ask(member)];
  };
  const before = await has();
  await about(of, user)("change_token_plan", { p_plan_type: "pro" });
  const during = await has();
  await letTimePass(of, user, 80);
  const after = await has();
  await about(of, user)("change_token_plan", { p_plan_type: "starter" });
  return { before, during, after, changed: await has() };
}

test("a plan is had while it is in force, booked or not, by its user and by the members of their team", async () => {
  expect(await plansOf(db)).toEqual({
    before: [false, false],
    during: [true, true],
    after: [false, false],
    changed: [false, false],
  });
});

test("that trial sees whose plan is asked for", { tags: ["proof"] }, async () => {
  const of = await createDatabase();
  await applyMutant(of, "members-have-their-own-plans");
  expect((await plansOf(of)).during).toEqual([true, false]);
  await of.drop();
});

test("the plan that a first touch gives is had before it, and nothing is written", async () => {
  const of = await createDatabase();
  await of.admin.query(
    "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'trial'",
  );
  const user = await createUser(of);
  const ask = () =>
    asUser(of, user, async (client) => {
      await client.query("set transaction read only");
      return [
        await rpc(client, "can_spend_tokens"),
        await rpc(client, "has_token_plan", { p_plan_type: "trial" }),
      ];
    });
  expect(await ask()).toEqual([true, true]);
  expect((await of.admin.query("select from public.token_transactions")).rowCount).toBe(0);
  await asUser(of, user, (client) => rpc(client, "get_user_token_balance"));
  expect(await ask()).toEqual([true, true]);
  await of.drop();
});

test.each([
  ["can_spend_tokens", { p_tokens: 0 }, "invalid_amount"],
  ["can_spend_tokens", { p_tokens: null }, "invalid_amount"],
  ["can_spend_tokens", { p_tokens: 1_000_000_000_001 }, "invalid_amount"],
  ["has_token_plan", { p_plan_type: "por" }, "plan_not_found"],
  ["has_token_plan", { p_plan_type: null }, "plan_not_found"],
])("%s refuses %j", async (name, args, message) => {
  const user = await createUser(db);
  await expect(asUser(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject({ message });
  await expect(asService(db, (client) => rpc(client, name, args))).rejects.toMatchObject({
    message: "invalid_user_id",
  });
});

/** A table of the project's, which only they read who can spend, by a policy that asks once or for each row. */
async function tableOfTheProject(of: Database, name: string, policy: string): Promise<void> {
  await of.admin.query(`
    create table public.${name} (id bigint generated always as identity primary key, title text not null);
    insert into public.${name} (title) select 'Report ' || n from generate_series(1, 10000) n;
    alter table public.${name} enable row level security;
    grant select, insert on public.${name} to authenticated;
    create policy "Users who can pay" on public.${name} for all to authenticated using (${policy}) with check (${policy})`);
}

test(
  "in a policy it decides who reads and writes, and is asked once for 10,000 rows",
  { timeout: 60_000 },
  async () => {
    await tableOfTheProject(db, "reports_once", "(select public.can_spend_tokens(10))");
    await tableOfTheProject(db, "reports_each", "public.can_spend_tokens(10)");
    const rich = await createUser(db);
    const poor = await createUser(db);
    await grant(db, rich, 10);
    await grant(db, poor, 9);
    const count = (user: string) =>
      asUser(db, user, (client) =>
        client.query("select count(*)::int as n from public.reports_once").then(({ rows }) => rows[0].n),
      );
    const write = (user: string) =>
      asUser(db, user, (client) => client.query("insert into public.reports_once (title) values ('Mine')"));

    expect([await count(rich), await count(poor)]).toEqual([10_000, 0]);
    await write(rich);
    await expect(write(poor)).rejects.toMatchObject({ code: "42501" });

    const explain = (table: string) =>
      asUser(db, rich, async (client) => {
        const run = () =>
          client.query(
            `explain (analyze, costs off, summary off, buffers off) select title from public.${table}`,
          );
        await run();
        return (await run()).rows.map((row: Record<string, string>) => row["QUERY PLAN"]!);
      });
    const [once, each] = [await explain("reports_once"), await explain("reports_each")];
    console.log(`${once.join("\n")}\n${each.join("\n")}`);
    expect(once.join("\n")).toMatch(/InitPlan 1\n\s+->\s+Result \(actual .* loops=1\)/);
    expect(each.join("\n")).not.toMatch(/InitPlan/); // it is what the other is not

    const figures = await asUser(db, rich, async (client) => {
      const time = async (call: string) => {
        const sql = `explain (analyze, timing off, format json) select ${call} from generate_series(1, 2000)`;
        await client.query(sql);
        return (await client.query(sql)).rows[0]["QUERY PLAN"][0]["Execution Time"] / 2;
      };
      return {
        can_spend: await time("public.can_spend_tokens(10)"),
        has_plan: await time("public.has_token_plan('starter')"),
      };
    });
    console.log(
      `microseconds a call: can_spend_tokens ${figures.can_spend.toFixed(1)}, has_token_plan ${figures.has_plan.toFixed(1)}`,
    );
  },
);
