import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { digestQuery } from "../support/digest.ts";
import { applyMutant } from "../support/mutants.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

let db: Database;
let life: PopulatedUser;
beforeAll(async () => {
  db = await createDatabase();
  life = await populateUser(db);
});
afterAll(() => db.drop());

/** What a client sends whose variable for the user was never set: supabase-js drops it. */
async function withoutUser(on: Database, about: PopulatedUser): Promise<Record<string, string>> {
  const look = await digestQuery(on.admin);
  const digest = async () => (await on.admin.query(look)).rows[0].digest as string;
  const outcomes: Record<string, string> = {};
  for (const fn of (await callablesOf(on)).filter(({ schema }) => schema === "public")) {
    const user = fn.parameters.find(({ name }) => name === "p_user_id");
    if (user === undefined || user.isRequired) continue; // left out, there is no such function: PGRST202
    const { p_user_id: _, ...args } = argumentsAbout(about, fn);
    const { sql, values } = callOf(fn, args);
    const before = await digest();
    const outcome = await asService(on, (client) => client.query(sql, values)).then(
      () => "answers",
      (error: { message: string }) => error.message,
    );
    outcomes[fn.name.replace("public.", "")] =
      outcome === "answers" && (await digest()) !== before ? "changes something" : outcome;
  }
  return outcomes;
}

test("a user who was left out by mistake is nobody, or a read of everyone: never a change for everyone", async () => {
  const outcomes = await withoutUser(db, life);
  expect(Object.keys(outcomes)).toEqual(
    expect.arrayContaining(["set_token_spend_cap", "set_token_alert_rule", "remove_token_alert_rule"]),
  );
  expect(Object.entries(outcomes).filter(([, outcome]) => outcome === "changes something")).toEqual([]);
  for (const name of ["set_token_spend_cap", "set_token_alert_rule", "remove_token_alert_rule"])
    expect(outcomes[name], name).toBe("invalid_scope");
});

test("the test sees it: what names nobody is for everyone", { tags: ["proof"] }, async () => {
  const own = await createDatabase();
  await applyMutant(own, "left-out-means-everyone");
  const outcomes = await withoutUser(own, await populateUser(own));
  expect(Object.entries(outcomes).filter(([, outcome]) => outcome === "changes something")).toEqual([
    ["set_token_alert_rule", "changes something"],
    ["set_token_spend_cap", "changes something"],
  ]);
  await own.drop();
});

test.each([
  [{}, "invalid_scope"],
  [{ p_for_everyone: false }, "invalid_scope"],
  [{ p_for_everyone: null }, "invalid_scope"],
  [{ p_plan_type: "starter", p_for_everyone: true }, "invalid_scope"],
  [{ p_user_id: "me", p_for_everyone: true }, "invalid_scope"],
  [{ p_user_id: "me", p_plan_type: "starter" }, "invalid_scope"],
  [{ p_user_id: "me" }, "user"],
  [{ p_plan_type: "starter" }, "plan"],
  [{ p_for_everyone: true }, "everyone"],
])("a cap for %j is %s", async (whom: Record<string, unknown>, expected) => {
  const user = await createUser(db);
  const outcome = await asService(db, (client) =>
    rpc(client, "set_token_spend_cap", {
      p_window: "month",
      p_tokens: 1_000_000_000_000,
      ...whom,
      ...(whom["p_user_id"] === "me" && { p_user_id: user }),
    }),
  ).then(
    ({ scope }: { scope: string }) => scope,
    (error: { message: string }) => error.message,
  );
  expect(outcome).toBe(expected);
});
