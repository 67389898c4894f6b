// @module-tag proof
/** get_token_revenue where several ask at once, and where there are more buyers than one call looks at. */
import { describe, expect, test } from "vitest";
import type { Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { refund, recordPaymentEvent } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { type Args, buys, far, give, prepared, revenue, server, spend, wrongs } from "./sold.ts";

const reporters = 8;

/** Eight ask again and again while four buy, use, and lose. @returns a line of figures, and what was wrong. */
async function atOnce(on: Database, dice: Dice, reports: number) {
  const users: string[] = [];
  for (let nth = 0; nth < 12; nth++) {
    users.push(await createUser(on));
    await buys(on, users[nth]!, `pi_${nth}`, nth % 3 === 0 ? "drip" : "pack");
  }
  const mix: Record<string, number> = {};
  const count = (what: string) => (mix[what] = (mix[what] ?? 0) + 1);
  const said: string[] = [];
  const trial = { isOver: false };
  const life = async () => {
    for (let nth = 0; !trial.isOver; nth++) {
      const user = dice.any(users);
      const act = dice.below(10);
      await (
        act < 7
          ? spend(on, user, 1 + dice.below(4))
          : act < 9
            ? give(on, user, 1 + dice.below(40), dice.below(500))
            : recordPaymentEvent(
                on,
                `pi_${users.indexOf(user)}`,
                refund(`re_${user}_${nth}`, 1 + dice.below(20)),
              )
      ).then(
        () => count(act < 7 ? "uses" : act < 9 ? "given" : "refunded"),
        () => count("refused"),
      );
    }
  };
  const ask = async () => {
    for (let nth = 0; nth < reports; nth++) {
      const answer: Args & { totals?: Record<string, number>[] } = await server(on, "get_token_revenue", {
        p_bucket: "all",
        ...far,
      }).catch((error: Error) => {
        said.push(error.message);
        return { success: false };
      });
      count(answer["success"] === false ? "busy" : "answered");
      for (const row of answer.totals ?? [])
        if (
          row["opening_deferred_cents"]! +
            row["sold_cents"]! -
            row["refunded_cents"]! -
            row["recognised_cents"]! -
            row["breakage_cents"]! !==
          row["closing_deferred_cents"]
        )
          said.push(`an answer does not add up: ${JSON.stringify(row)}`);
    }
  };
  const lives = Array.from({ length: 4 }, life);
  await Promise.all(Array.from({ length: reporters }, ask));
  trial.isOver = true;
  await Promise.all(lives);
  said.push(...(await wrongs(on)));
  const { rows } = await on.admin.query("select * from public.verify_token_ledger()");
  said.push(...rows.map((row) => JSON.stringify(row)));
  return {
    said,
    line: `reporters=${reporters} attempts=${reporters * reports} mix=${JSON.stringify(mix)} violations=${said.length}`,
  };
}

test("several reports at once count nothing twice, while uses go on", { timeout: 240_000 }, async () => {
  const on = await prepared();
  const { line, said } = await atOnce(on, new Dice(seed), 25);
  console.log(`${line} seed=${seed}`);
  expect(said).toEqual([]);
  await on.drop();
});

test("the trial sees it: everybody-counts-at-once", { timeout: 240_000 }, async () => {
  const on = await prepared();
  await applyMutant(on, "everybody-counts-at-once");
  const { line, said } = await atOnce(on, new Dice(100), 25);
  console.log(
    `everybody-counts-at-once: ${line}; ${said
      .filter((wrong) => wrong.includes("is to be"))
      .slice(0, 3)
      .join("; ")}`,
  );
  expect(said.length).toBeGreaterThan(0);
  await on.drop();
});

test("a report waits for another that is counting, and then answers busy", async () => {
  const on = await prepared();
  await buys(on, await createUser(on), "pi_1", "pack");
  await revenue(on, far);
  await buys(on, await createUser(on), "pi_2", "pack");
  const other = await on.admin.connect();
  await other.query("begin");
  await other.query("select from tokenbook.sale_rounds for update");
  const begin = performance.now();
  expect(await server(on, "get_token_revenue", {})).toMatchObject({ success: false });
  expect(performance.now() - begin).toBeLessThan(3500);
  await other.query("rollback");
  other.release();
  expect((await revenue(on, far)).totals).toMatchObject([{ sold_cents: 2000 }]);
  await on.drop();
});

describe("more buyers than one call looks at", () => {
  /** Seven users, of whom a call looks at three, and counts three entries. */
  async function seven(mutant?: string): Promise<{ on: Database; users: string[] }> {
    const on = await prepared();
    if (mutant !== undefined) await applyMutant(on, mutant);
    await on.admin.query(
      `do $$ begin execute replace(pg_get_functiondef('tokenbook.limits()'::regprocedure), '"usage_rows": 25000', '"usage_rows": 3'); end $$`,
    );
    const users: string[] = [];
    for (let nth = 0; nth < 7; nth++) {
      users.push(await createUser(on));
      await buys(on, users[nth]!, `pi_${nth}`, "pack");
      for (let use = 0; use < nth; use++) await spend(on, users[nth]!, 1);
    }
    return { on, users };
  }
  const aMinute = (on: Database) =>
    on.admin.query("update tokenbook.sale_rounds set whole_at = whole_at - interval '61 seconds'");

  /** @returns what is wrong with the answer of a whole round, and of the next. */
  async function rounds(mutant?: string): Promise<string[]> {
    const { on, users } = await seven(mutant);
    try {
      const said: string[] = [];
      const before = new Date();
      const first = await revenue(on, far);
      if (new Date(first.as_of) < before) said.push("the round began before it was asked for");
      said.push(...(await wrongs(on)));
      await spend(on, users[3]!, 5);
      await buys(on, await createUser(on), "pi_8", "pack");
      await aMinute(on);
      said.push(...(await wrongs(on)));
      return said;
    } finally {
      await on.drop();
    }
  }

  test("are looked at by rounds of several calls, each at most a portion", { timeout: 60_000 }, async () => {
    expect(await rounds()).toEqual([]);
  });

  test("a report soon after a round says as of when it is", { timeout: 60_000 }, async () => {
    const { on, users } = await seven();
    const answer = async (): Promise<Args> =>
      await server(on, "get_token_revenue", { p_bucket: "all", ...far });
    expect(await answer()).toMatchObject({ success: false });
    const { as_of, totals } = await revenue(on, far);
    await spend(on, users[0]!, 50);
    expect(await answer()).toMatchObject({ as_of, totals });
    await aMinute(on);
    expect(await answer()).toMatchObject({ success: false });
    expect((await revenue(on, far)).totals[0].recognised_cents).toBe(totals[0].recognised_cents + 500);
    await on.drop();
  });

  test.each(["rounds-pass-who-waits", "rounds-are-of-a-day"])(
    "the test sees it: %s",
    { timeout: 60_000 },
    async (mutant) => {
      expect(await rounds(mutant)).not.toEqual([]);
    },
  );
});
