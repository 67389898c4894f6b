// Moments at both ends of time, in every argument that takes one: each is refused by name, or taken.
import { expect, test } from "vitest";
import { errors, isSlug } from "../../supabase/functions/_shared/errors.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import { createDatabase } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asService } from "../support/roles.ts";

const moments = [
  "infinity",
  "-infinity",
  "294276-12-31",
  "4713-01-01 BC",
  "5874000-01-01",
  "9999-12-31",
  "epoch",
];

/** Thrown to take back what a call did. */
const takeBack = new Error("taken back");

async function trial(
  mutant?: string,
): Promise<{ calls: number; taken: number; refused: number; wrong: string[] }> {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const life = await populateUser(db);
  const result = { calls: 0, taken: 0, refused: 0, wrong: [] as string[] };
  for (const callable of await callablesOf(db)) {
    if (callable.schema !== "public") continue;
    for (const { name, type } of callable.parameters) {
      if (type !== "timestamp with time zone" && type !== "date") continue;
      for (const moment of moments) {
        const { sql, values } = callOf(callable, { ...argumentsAbout(life, callable), [name]: moment });
        result.calls++;
        await asService(db, async (client) => {
          await client.query(sql, values);
          result.taken++;
          throw takeBack;
        }).catch((error: Error & { code: string; where?: string }) => {
          if (error === takeBack) return;
          const { code, message, where = "" } = error;
          if (isSlug(message) && errors[message].sqlstate === code) result.refused++;
          // what an argument's type does not take, Postgres refuses before the function is called
          else if (!code.startsWith("22") || where.includes("PL/pgSQL function"))
            result.wrong.push(`${callable.name}(${name} => ${moment}): ${code} ${message}`);
        });
      }
    }
  }
  await db.drop();
  console.log(`far moments: ${JSON.stringify({ ...result, wrong: result.wrong.length })}`);
  return result;
}

test("a moment at the end of time is refused by name, or taken", async () => {
  const { calls, taken, refused, wrong } = await trial();

  expect(wrong).toEqual([]);
  expect(calls).toBeGreaterThan(50);
  expect(taken).toBeGreaterThan(5);
  expect(refused).toBeGreaterThan(20);
});

test("the test sees it: grants-of-the-far-future", async () => {
  expect((await trial("grants-of-the-far-future")).wrong).toContainEqual(
    expect.stringContaining("grant_tokens(p_granted_at => 294276-12-31)"),
  );
});
