// @module-tag proof
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { createDatabase } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsServer } from "../../support/storm.ts";
import { about, setPlan } from "./schedules.ts";

/** Processor time that a backend has used, in ticks of 10 ms. */
async function ticksOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test(
  "a deduction costs an account whose plan has a schedule no more than one without, until a slot is due",
  { timeout: 300_000 },
  async ({ skip }) => {
    if (process.platform !== "linux") skip("the processor time of a backend is read from /proc");
    const db = await createDatabase();
    const client = await connectAsServer(db);
    try {
      await setPlan(db, "yearly", { tokens: 100_000_000, billing_cycle: "annual", issue_every: "month" });
      await setPlan(db, "at_once", { tokens: 100_000_000, billing_cycle: "annual" });
      const [without, withSchedule, neither] = await Promise.all([
        createUser(db),
        createUser(db),
        createUser(db),
      ]);
      await about(db, without!)("change_token_plan", { p_plan_type: "at_once" });
      await about(db, withSchedule!)("change_token_plan", { p_plan_type: "yearly" });
      await grant(db, neither!, 100_000_000);
      const { pid } = (await client.query("select pg_backend_pid() as pid")).rows[0];
      const spend = (user: string) =>
        client.query(
          "select count(*) from generate_series(1, 500), lateral (select public.deduct_tokens_with_fifo($1, 1) where generate_series > 0) d",
          [user],
        );
      const ticks = new Map([without!, withSchedule!, neither!].map((user) => [user, 0]));
      for (let round = 0; round < 12; round++) {
        for (const user of ticks.keys()) {
          await db.admin.query("vacuum public.token_accounts, public.token_balances");
          const before = await ticksOf(pid);
          await spend(user);
          if (round > 1) ticks.set(user, ticks.get(user)! + (await ticksOf(pid)) - before);
        }
      }
      const ratio = ticks.get(withSchedule!)! / ticks.get(without!)!;
      console.log(
        `processor time of 5,000 deductions: without a schedule ${ticks.get(without!)! * 10} ms, with one ${ticks.get(withSchedule!)! * 10} ms, ratio=${ratio.toFixed(3)}`,
      );
      expect(ratio).toBeLessThan(1.15);
    } finally {
      await client.end();
      await db.drop();
    }
  },
);
