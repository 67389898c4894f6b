/** The row of the project's settings is gone: a schema-only dump and a squash of migrations leave it out. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { alertBreaches, call, deduct, setRule, told } from "../alerts/alerts.ts";

let db: Database;
let user: string;
beforeEach(async () => {
  db = await createDatabase();
  user = await createUser(db);
  await grant(db, user, 100);
});
afterEach(async () => {
  await expectCleanBooks(db);
  expect(await alertBreaches(db)).toEqual([]);
  await db.drop();
});

const lose = () => db.admin.query("delete from tokenbook.project_settings");
const settings = async () =>
  (
    await db.admin.query(
      "select alerts_version::int as version, is_expiring_first from tokenbook.project_settings",
    )
  ).rows;
/** When the grants that the balance lists run out, in its order. */
const listed = async () =>
  (await call(db, "get_user_token_balance", { p_user_id: user })).grants.map(
    (one: { expires_at: string | null }) => (one.expires_at === null ? "never" : one.expires_at.slice(0, 4)),
  );

/** What of the books goes by the settings, each by its own entry point. */
const ways: Record<string, (tokens: number) => Promise<unknown>> = {
  deduct: (tokens) => deduct(db, user, tokens),
  batch: (tokens) => call(db, "deduct_tokens_batch", { p_items: [{ user_id: user, tokens }] }),
  track: (tokens) =>
    call(db, "track_token_usage", { p_user_id: user, p_action_type: "chat", p_tokens_used: tokens }),
  hold: (tokens) => call(db, "reserve_tokens", { p_user_id: user, p_tokens: tokens }),
  adjust: (tokens) => call(db, "adjust_tokens", { p_user_id: user, p_delta: -tokens }),
};

test("a new project has no row; its first transaction makes it, with the defaults", async () => {
  const fresh = await createDatabase();
  const made = () =>
    fresh.admin.query("select alerts_version::int, is_expiring_first from tokenbook.project_settings");
  expect((await made()).rows).toEqual([]);

  await grant(fresh, await createUser(fresh), 100);

  expect((await made()).rows).toEqual([{ alerts_version: 0, is_expiring_first: false }]);
  await fresh.drop();
});

describe.each(Object.keys(ways))("without the row, by %s", (way) => {
  test("everything is as with the defaults, and the row is there again", async () => {
    await lose();
    await ways[way]!(30);
    expect(await call(db, "get_user_token_balance", { p_user_id: user })).toMatchObject({ total_active: 70 });
    expect(await settings()).toEqual([{ version: 0, is_expiring_first: false }]);
  });

  test("a rule that was set is still heard", async () => {
    await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
    await lose();
    await ways[way]!(60);
    expect(await told(db, user)).toEqual(["dropped low 40"]);
  });

  test("a rule that is set then is heard by accounts of any version", async () => {
    await setRule(db, { rule: "other", kind: "dropped", threshold_tokens: 1 });
    await deduct(db, user, 1); // armed with version 1
    await call(db, "remove_token_alert_rule", { p_rule: "other", p_for_everyone: true });
    await db.admin.query("delete from public.token_alert_rules");
    await lose();
    await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
    await ways[way]!(60);
    expect(await told(db, user)).toEqual(["dropped low 39"]);
  });

  test("the burn order that was chosen still holds", async () => {
    await grant(db, user, 100, { expires_at: "2040-01-01T00:00:00Z" });
    await call(db, "set_token_burn_order", { p_burn_order: "expiring_first" });
    await lose();
    await ways[way]!(30);
    const { rows } = await db.admin.query(
      "select tokens_remaining::int as left from public.token_balances where user_id = $1 order by expires_at nulls last",
      [user],
    );
    expect(rows).toEqual([{ left: 70 }, { left: 100 }]);
  });
});

test("the balance lists in the order that was chosen, and by default first in, first out", async () => {
  await grant(db, user, 100, { expires_at: "2040-01-01T00:00:00Z" });
  await lose();
  expect(await listed()).toEqual(["never", "2040"]);
  await call(db, "set_token_burn_order", { p_burn_order: "expiring_first" });
  await lose();
  expect(await listed()).toEqual(["2040", "never"]);
});

test("choosing a burn order makes the row", async () => {
  await lose();
  await call(db, "set_token_burn_order", { p_burn_order: "expiring_first" });
  expect(await settings()).toEqual([{ version: 0, is_expiring_first: true }]);
});

test("setting a rule makes the row, and removing one", async () => {
  await lose();
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  expect(await settings()).toEqual([{ version: 1, is_expiring_first: false }]);
  await lose();
  await call(db, "remove_token_alert_rule", { p_rule: "low", p_for_everyone: true });
  expect(await settings()).toHaveLength(1);
});

test("accounts that nobody touches are armed by the job", async () => {
  await grant(db, user, 50, { expires_in: "10 hours" });
  await setRule(db, { rule: "soon", kind: "expiring_soon", hours: 24 });
  await lose();
  expect(await call(db, "arm_token_alerts")).toBe(1);
  expect(await told(db, user)).toEqual(["expiring_soon soon 150"]);
  expect(await call(db, "arm_token_alerts")).toBe(0);
});

test("what runs out meanwhile is told by the sweeper", async () => {
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 120 });
  await grant(db, user, 50, { expires_in: "10 hours" });
  await lose();
  await letTimePass(db, user, 1);
  await call(db, "expire_old_token_grants");
  expect(await told(db, user)).toEqual(["dropped low 100"]);
});

test("a plan limit that moves is looked at again", async () => {
  await setRule(db, { rule: "half", kind: "dropped", threshold_percent: 50 });
  await lose();
  await call(db, "change_token_plan", { p_user_id: user, p_plan_type: "starter" });
  const { rows } = await db.admin.query(
    "select tokens_remaining - alert_below as above from public.token_accounts where user_id = $1",
    [user],
  );
  expect(Number(rows[0].above)).toBeGreaterThan(0);
});

test("the test sees it: a lost row that switches the rules off", { tags: ["proof"] }, async () => {
  await applyMutant(db, "lost-settings-switch-rules-off");
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  await lose();
  await ways["track"]!(60);
  expect(await told(db, user)).toEqual([]);
});
