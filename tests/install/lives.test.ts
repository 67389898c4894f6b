// @module-tag proof
/**
 * Nine projects, each its whole way with Tokenbook, by the package as it is published: checked, installed, balances
 * imported, the app as it was, both side by side, switched, upgraded, and out again.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { asService, asUser, rpc } from "../support/roles.ts";
import {
  ann,
  answersOf,
  ben,
  factsOf,
  type Guest,
  projects,
  renamed,
  startProject,
  statementsOf,
  touched,
} from "./guest.ts";
import { pack, type Packed, tokenbook } from "./packed.ts";

interface Life {
  /** Where its users' balances are, as `--from` says it, and whose a row is; null: it has none, and a file says them. */
  from: [source: string, ...options: string[]] | null;
  /** What the app does when somebody (Ann) uses some of it, and how much that is; and the balance as the app keeps it. */
  uses?: string;
  by?: number;
  /** Its server does it; else the user does. */
  isServers?: true;
  keeps?: string;
}

const lives: Record<string, Life> = {
  "a-credits": {
    from: ["profiles.credits"],
    uses: "select decrement_credits(3)",
    by: 3,
    keeps: "select credits from profiles where id = $1",
  },
  "b-seed-like": {
    from: ["app_token_balances.left_over"],
    uses: `select spend('${ann}', 30)`,
    by: 30,
    keeps: "select left_over from app_token_balances where user_id = $1",
  },
  "c-own-payments": {
    from: ["user_subscriptions.tokens"],
    uses: `update user_subscriptions set tokens = tokens - 12 where user_id = '${ann}'`,
    isServers: true,
    by: 12,
    keeps: "select tokens from user_subscriptions where user_id = $1",
  },
  "d-profiles-by-id": {
    from: ["user_profiles.vibe_assistant_tokens_remaining"],
    uses: "update user_profiles set vibe_assistant_tokens_remaining = vibe_assistant_tokens_remaining - 9",
    by: 9,
    keeps: "select vibe_assistant_tokens_remaining from user_profiles where id = $1",
  },
  "e-own-private": { from: null },
  "h-newer-profiles": {
    from: ["user_profiles"],
    uses: "select use_some(100)",
    by: 100,
    keeps: "select vibe_assistant_tokens_remaining from user_profiles where user_id = $1",
  },
  "i-subscription-starter": {
    from: ["users.message_credits"],
    uses: "select send_message('Hello')",
    by: 1,
    keeps: "select message_credits from users where id = $1",
  },
  "j-credit-transactions": {
    from: ["profiles.credits"],
    uses: "select use_credits(5)",
    by: 5,
    keeps: "select credits from profiles where id = $1",
  },
  "k-organisations": {
    from: ["organizations.credit_balance", "--user-column", "owner_id", "--times", "100"],
    uses: "select use_org_credits('00000000-0000-4000-9000-000000000001', 2)",
    by: 200,
    keeps: "select (credit_balance * 100)::integer from organizations where owner_id = $1",
  },
};

let packed: Packed;
const times: Record<string, Record<string, number>> = {};
beforeAll(async () => {
  packed = await pack();
}, 180_000);
afterAll(async () => {
  await packed.remove();
  console.table(times);
});

const balanceOf = (guest: Guest, user: string): Promise<number> =>
  asService(guest.db, (client) => rpc(client, "get_user_token_balance", { p_user_id: user })).then(
    ({ total_active, total_owed }) => total_active - total_owed,
  );

test("every project has its way here", () => expect(Object.keys(lives)).toEqual(Object.keys(projects)));

test.each(Object.entries(lives))("%s, in and out again", { timeout: 300_000 }, async (name, life) => {
  const guest = await startProject(name);
  const seconds: Record<string, number> = (times[name] = {});
  const step = async (what: string, args: string[], from = packed.now) => {
    const begin = performance.now();
    const said = await tokenbook(from, guest, ...args);
    seconds[what] = Math.round(performance.now() - begin) / 1000;
    return said;
  };
  const does = async (what: string, args: string[], from = packed.now) => {
    const said = await step(what, args, from);
    expect(said.status, `${args.join(" ")}\n${said.stderr}\n${said.stdout}`).toBe(0);
    return said.stdout;
  };
  const keeps = async () => {
    const { rows } = await guest.db.admin.query({ text: life.keeps!, values: [ann], rowMode: "array" });
    return Number(rows[0]![0]);
  };

  try {
    // what is in the way is the project's to move, by the statements that are said
    const checked = await step("check", ["check", "--functions", "balance,grant"]);
    for (const statement of checked.status === 0 ? [] : statementsOf(checked.stdout))
      await guest.db.admin.query(statement);
    const asked = checked.status === 0 ? projects[name]! : await Promise.all(projects[name]!.map(renamed));
    await does("check", ["check", "--functions", "balance,grant"]);
    const facts = await factsOf(guest.db);
    const answers = await answersOf(guest.db, asked);

    await does("install", ["install", "--yes", "--functions", "balance,grant"]);
    const file = join(guest.root, "balances.csv");
    await writeFile(file, `user,tokens\n${ann},120\n${ben},-30\n`);
    const from = life.from ?? ["csv", "--file", file];
    await does("import, dry", ["import", "--from", ...from]);
    await does("import", ["import", "--from", ...from, "--book"]);
    expect(await does("import again", ["import", "--from", ...from, "--book"])).toMatch(/\b0 users/);
    expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
    expect(await answersOf(guest.db, asked)).toEqual(answers);
    if (life.from === null) {
      expect([await balanceOf(guest, ann), await balanceOf(guest, ben)]).toEqual([120, -30]);
    } else {
      expect(await balanceOf(guest, ann)).toBe(await keeps());

      await does("shadow", ["shadow", "--from", ...from, "--start"]);
      expect(await answersOf(guest.db, asked)).toEqual(answers);
      const before = await balanceOf(guest, ann);
      const use = (client: pg.ClientBase) => client.query(life.uses!);
      await (life.isServers ? asService(guest.db, use) : asUser(guest.db, ann, use));
      await does("shadow, booking", ["shadow"]);
      expect([await balanceOf(guest, ann), await keeps()]).toEqual([before - life.by!, before - life.by!]);

      const answersBefore = await answersOf(guest.db, asked);
      await does("switch", ["switch", "--yes", "--writable"]);
      expect(await answersOf(guest.db, asked)).toEqual(answersBefore);
      await asService(guest.db, (client) =>
        rpc(client, "deduct_tokens_with_fifo", { p_user_id: ann, p_tokens_to_deduct: 1 }),
      );
      await does("shadow, after", ["shadow"]);
      expect(await keeps()).toBe(before - life.by! - 1);
    }

    expect(await does("upgrade", ["upgrade", "--yes"], packed.next)).toContain("99.0.0 now");
    expect((await step("status", ["status"], packed.next)).stdout).toContain("Tokenbook 99.0.0 is installed");
    const { findings } = JSON.parse((await step("doctor", ["doctor", "--json"], packed.next)).stdout) as {
      findings: { subject: string; status: string; finding: string }[];
    };
    // the server of these trials does without fsync, and what that release declares is this one's
    expect(
      findings.filter(({ subject, status }) => status === "fault" && subject !== "durability"),
    ).toMatchObject([{ finding: expect.stringContaining("tokenbook.version() is not as it was made") }]);
    await does("verify", ["verify"], packed.next);

    const removed = await does(
      "uninstall",
      ["uninstall", "--yes", "--export", join(guest.root, "books")],
      packed.next,
    );
    expect(removed).toContain("nothing else has changed");
    expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
    expect([...(await factsOf(guest.db)).keys()].filter((fact) => !facts.has(fact))).toEqual([]);
  } finally {
    await guest.remove();
  }
});
