import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { diceFor } from "../../support/dice.ts";
import { type Schedule, slotStart } from "./model.ts";

let db: Database;
beforeAll(async () => void (db = await createDatabase()));
afterAll(() => db.drop());

const schedule = (every: Schedule["every"], on: Schedule["on"]): Schedule => ({
  every,
  on,
  tokens: 100,
  refill: null,
  lifetime: null,
});

/** The first starts of a period, as the database says them. */
async function firstStarts(of: Schedule, begins: string, count: number): Promise<string[]> {
  const { rows } = await db.admin.query(
    `select to_char(tokenbook.slot_start($1, $2, n) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI') as start
       from generate_series(0, $3::integer - 1) n order by n`,
    [of, begins, count],
  );
  return rows.map(({ start }) => start);
}

test("a month from the 31st is the last day of a shorter month, and the 31st again", async () => {
  expect(await firstStarts(schedule("month", "anniversary"), "2027-01-31T10:30Z", 5)).toEqual([
    "2027-01-31T10:30",
    "2027-02-28T10:30",
    "2027-03-31T10:30",
    "2027-04-30T10:30",
    "2027-05-31T10:30",
  ]);
});

test("a month from a leap day is the 29th, and in February the 28th until the next leap year", async () => {
  const all = await firstStarts(schedule("month", "anniversary"), "2028-02-29T00:00Z", 50);
  expect([all[1], all[11], all[12], all[13], all[48]]).toEqual([
    "2028-03-29T00:00",
    "2029-01-29T00:00",
    "2029-02-28T00:00",
    "2029-03-29T00:00",
    "2032-02-29T00:00",
  ]);
});

test("on the calendar slots begin on the first, on Mondays and at midnight in UTC, and the first of them with the period", async () => {
  const begins = "2027-01-31T23:30-05:00"; // in UTC it is Monday the 1st of February, 04:30
  expect(await firstStarts(schedule("month", "calendar"), begins, 3)).toEqual([
    "2027-02-01T04:30",
    "2027-03-01T00:00",
    "2027-04-01T00:00",
  ]);
  expect(await firstStarts(schedule("week", "calendar"), begins, 3)).toEqual([
    "2027-02-01T04:30",
    "2027-02-08T00:00",
    "2027-02-15T00:00",
  ]);
  expect(await firstStarts(schedule("day", "calendar"), begins, 3)).toEqual([
    "2027-02-01T04:30",
    "2027-02-02T00:00",
    "2027-02-03T00:00",
  ]);
});

test("every start is what the model lists, in every session's time zone, and a slot lasts until the next one's start", async () => {
  const dice = diceFor(1);
  const client = await db.admin.connect();
  let compared = 0;
  try {
    for (const zone of ["UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin"]) {
      await client.query(`set time zone '${zone}'`);
      for (const every of ["day", "week", "month"] as const) {
        for (const on of ["anniversary", "calendar"] as const) {
          const of = schedule(every, on);
          for (let round = 0; round < 10; round++) {
            const begins =
              Date.UTC(2027 + dice.below(4), dice.below(12), 1 + dice.below(31)) + dice.below(86_400_000);
            const { rows } = await client.query(
              `select n, extract(epoch from tokenbook.slot_start($1, $2, n)) * 1000 as start,
                      tokenbook.slot_number($1, $2, tokenbook.slot_start($1, $2, n)) as here,
                      tokenbook.slot_number($1, $2, tokenbook.slot_start($1, $2, n) - interval '1 microsecond') as before
                 from unnest(array[0, 1, 2, 11, 12, 13, $3::integer]) n`,
              [of, new Date(begins).toISOString(), 20 + dice.below(500)],
            );
            for (const { n, start, here, before } of rows) {
              compared++;
              expect([Number(start), here, before]).toEqual([slotStart(of, begins, n), n, n - 1]);
            }
          }
        }
      }
    }
  } finally {
    await client.query("reset time zone");
    client.release();
  }
  console.log(`slots compared=${compared}`);
});
