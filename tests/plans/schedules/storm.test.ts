// @module-tag proof
import { expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { storm } from "../../support/storm.ts";
import { findings, given, setPlan, userOn } from "./schedules.ts";

/** Everything that books what is due, by whom it may come first. */
const touches = [
  "select public.deduct_tokens_with_fifo($1, 1) as answer",
  "select public.get_user_token_balance($1) as answer",
  "select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 1) as answer",
  "select public.reserve_tokens($1, 1) as answer",
  "select to_jsonb(public.expire_old_token_grants()) as answer, $1::uuid",
  "select public.deduct_tokens_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'tokens', 1))) as answer",
];

/** Twenty-four connections touch each of some accounts at once when a slot has begun; returns what was given wrongly. */
async function touchAtOnce(mutant: string | null) {
  const db = await createDatabase();
  try {
    if (mutant) await applyMutant(db, mutant);
    const setClock = await takeTheClock(db);
    await setPlan(db, "drip", { tokens: 100, issue_every: "day", issue_on: "calendar" });
    await setClock("2027-01-15T10:00:00Z");
    const users = await Promise.all(Array.from({ length: 5 }, () => userOn(db, "drip")));
    const wrong: string[] = [];
    const mix: Record<string, number> = {};
    for (const day of [17, 18, 19]) {
      await setClock(`2027-01-${day}T00:00:00Z`);
      const one = await storm(db, {
        connections: 24,
        attempts: 24 * users.length,
        run: async (client, attempt) => {
          const touch = touches[attempt % touches.length]!;
          const { rows } = await client.query(touch, [users[Math.floor(attempt / 24)]]);
          return rows[0].answer.success === false ? "short" : "done";
        },
      });
      for (const [outcome, times] of Object.entries(one.mix)) mix[outcome] = (mix[outcome] ?? 0) + times;
    }
    for (const user of users) {
      const slots = (await given(db, user)).map(({ slot, count }) => `${slot} ${count}`).join(", ");
      if (slots !== "2027-01-17 00:00 2, 2027-01-18 00:00 1, 2027-01-19 00:00 1") wrong.push(slots);
      wrong.push(...(await findings(db, user)));
    }
    return { mix, wrong };
  } finally {
    await db.drop();
  }
}

test(
  "24 connections that touch an account when a slot begins get one grant of it",
  { timeout: 120_000 },
  async () => {
    const { mix, wrong } = await touchAtOnce(null);
    console.log(`touches=${JSON.stringify(mix)} wrong=${wrong.length}`);
    expect(wrong).toEqual([]);
  },
);

test("a slot that stays due is given many times, and that is seen", { timeout: 120_000 }, async () => {
  const { mix, wrong } = await touchAtOnce("slots-stay-due");
  console.log(`touches=${JSON.stringify(mix)} wrong=${wrong.length}: ${wrong[0]?.slice(0, 200)}`);
  expect(wrong.filter((one) => one.startsWith("2027"))).not.toEqual([]);
});
