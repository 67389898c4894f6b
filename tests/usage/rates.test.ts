/** What using models costs users in tokens: rates by model and date, and what becomes of a model without a price. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";

type Fields = Record<string, unknown>;

let db: Database;
let admin: string;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  user = await createUser(db);
  await grant(db, user, 1_000_000_000);
});
afterAll(() => db.drop());

const server = (name: string, args: Fields, of = db) => asService(of, (client) => rpc(client, name, args));
const setRate = (pattern: unknown, rate: unknown, from?: string, of = db) =>
  server(
    "set_token_model_rate",
    {
      p_model_pattern: pattern,
      p_rate: rate,
      p_reason: "a reason",
      ...(from !== undefined && { p_valid_from: from }),
    },
    of,
  );
const use = (args: Fields) => ({ p_user_id: user, p_action_type: "chat_conversation", ...args });

/** What a track, a quote and a capture of the same use count, which is to be one number. */
async function countedOf(args: Fields): Promise<number | null> {
  const { tokens } = await server("estimate_tokens", use(args));
  const { tokens_used } = await server("track_token_usage", use(args));
  const { p_action_type: action = "chat_conversation", p_model_used, ...used } = args;
  const { hold_id } = await server("reserve_tokens", {
    p_user_id: user,
    p_tokens: 1_000_000,
    p_action_type: action,
  });
  const captured = await server("capture_tokens", {
    p_user_id: user,
    p_hold_id: hold_id,
    ...(p_model_used !== undefined && { p_model_used }),
    ...used,
  });
  expect([tokens, captured.tokens_captured]).toEqual([tokens_used, tokens_used]);
  return tokens_used;
}

describe("a rate", () => {
  beforeAll(async () => {
    await setRate("big*", { tokens_per_input: 2, tokens_per_output: 10, tokens_per_image: 500 });
    await setRate("big-mini*", {
      tokens_per_input: 0.1,
      tokens_per_cached: 0.01,
      tokens_per_output: 0.5,
      tokens_per_reasoning: 0.25,
      tokens_per_second: 3,
      markup_percent: 20,
    });
    await setRate("big-mini-old", { tokens_per_input: 7 });
  });

  test.each<[string, Fields, number]>([
    ["a pattern", { p_model_used: "big-1", p_input_tokens: 10, p_output_tokens: 3 }, 50],
    [
      "cached and reasoning as the rest, where they have none",
      {
        p_model_used: "big-1",
        p_input_tokens: 10,
        p_cached_tokens: 4,
        p_output_tokens: 3,
        p_reasoning_tokens: 2,
      },
      50,
    ],
    ["images", { p_model_used: "big-1", p_images: 2 }, 1_000],
    // (60 × 0.1 + 40 × 0.01 + 6 × 0.5 + 4 × 0.25) × 1.2 = 12.48
    [
      "the longest pattern, each kind at its own, with the markup, rounded up once",
      {
        p_model_used: "big-mini-2",
        p_input_tokens: 100,
        p_cached_tokens: 40,
        p_output_tokens: 10,
        p_reasoning_tokens: 4,
      },
      13,
    ],
    ["seconds", { p_model_used: "big-mini", p_seconds: 2.5 }, 9],
    [
      "its own name before any pattern",
      { p_model_used: "big-mini-old", p_input_tokens: 3, p_output_tokens: 1 },
      22,
    ],
    [
      "a model that none fits as ever: input and output",
      { p_model_used: "small", p_input_tokens: 3, p_output_tokens: 1 },
      4,
    ],
    ["nothing used as nothing", { p_model_used: "big-1", p_input_tokens: 0 }, 0],
  ])("counts %s, in a track, a quote and a capture alike", async (_, args, tokens) => {
    expect(await countedOf(args)).toBe(tokens);
  });

  test("yields to a number that is given, and is brought within what the action costs", async () => {
    expect(
      (await server("track_token_usage", use({ p_model_used: "big-1", p_input_tokens: 9, p_tokens_used: 5 })))
        .tokens_used,
    ).toBe(5);
    await server("set_token_action_cost", {
      p_action_type: "drawing",
      p_cost: { min_tokens: 100, max_tokens: 200 },
      p_reason: "a reason",
    });
    const drawing = (tokens: number) =>
      countedOf({ p_action_type: "drawing", p_model_used: "big-1", p_input_tokens: tokens });
    expect([await drawing(1), await drawing(60), await drawing(600)]).toEqual([100, 120, 200]);
  });

  test("holds from its moment on; what was booked stays, and none is a rate too", async () => {
    const counted = () => countedOf({ p_model_used: "dated", p_input_tokens: 10 });
    expect(await setRate("dated*", { tokens_per_input: 3 })).toMatchObject({
      is_new: true,
      rate: { tokens_per_input: 3, tokens_per_cached: null, tokens_per_output: 1, tokens_per_image: 0 },
    });
    expect(await counted()).toBe(30);
    await setRate("dated", { tokens_per_input: 4 });
    await setRate("dated", { tokens_per_input: 5 }, "2999-01-01T00:00:00Z");
    expect(await counted()).toBe(40);
    expect(await setRate("dated", null)).toMatchObject({ is_new: false, rate: null });
    expect(await counted()).toBe(30);
    await setRate("dated*", null);
    expect(await counted()).toBe(10);
    const { rows } = await db.admin.query(
      `select array_agg(distinct tokens_used::int order by tokens_used::int) as used from public.token_usage where model_used = 'dated'`,
    );
    expect(rows).toEqual([{ used: [10, 30, 40] }]);
  });

  test("the same again changes nothing; a change is kept with who and why", async () => {
    await setRate("kept", { tokens_per_input: 1.5 });
    expect(await setRate("kept", { tokens_per_input: 1.5 })).toMatchObject({ changed: [] });
    expect(await setRate("kept", {})).toMatchObject({ changed: [] });
    await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_model_rate", {
        p_model_pattern: "kept",
        p_rate: { markup_percent: 5 },
        p_reason: "dearer",
      }),
    );
    const { changes } = await server("list_token_changes", { p_limit: 2 });
    expect(changes).toMatchObject([
      {
        change: "set_token_model_rate",
        actor_id: admin,
        reason: "dearer",
        details: { before: { markup_percent: 0 }, after: { markup_percent: 5 } },
      },
      {
        change: "set_token_model_rate",
        actor_role: "service",
        details: { model_pattern: "kept", is_new: true },
      },
    ]);
  });

  test("is set by admins and the server, and read by every signed-in user", async () => {
    const args = { p_model_pattern: "mine", p_rate: { tokens_per_input: 0 }, p_reason: "mine" };
    const refused = { code: "42501" };
    await expect(asAnon(db, (client) => rpc(client, "set_token_model_rate", args))).rejects.toMatchObject(
      refused,
    );
    await expect(
      asUser(db, user, (client) => rpc(client, "set_token_model_rate", args)),
    ).rejects.toMatchObject(refused);
    await expect(
      asService(db, (client) =>
        client.query("update public.token_model_rates set markup_percent = 1 where true"),
      ),
    ).rejects.toMatchObject(refused);
    await expect(server("set_token_model_rate", { ...args, p_reason: " " })).rejects.toMatchObject({
      message: "invalid_reason",
    });
    const { rows } = await asUser(db, user, (client) =>
      client.query("select model_pattern from public.token_model_rates where model_pattern = 'big*'"),
    );
    expect(rows).toHaveLength(1);
  });

  test.each<[string, unknown, unknown, string | undefined, string]>([
    ["a moment that is over", "x", {}, "2020-01-01T00:00:00Z", "p_valid_from"],
    ["no model", null, {}, undefined, "p_model_pattern"],
    ["a star in the middle", "a*b", {}, undefined, "p_model_pattern"],
    ["two stars", "a**", {}, undefined, "p_model_pattern"],
    ["a model of 201 bytes", "m".repeat(201), {}, undefined, "p_model_pattern"],
    ["a list", "x", [], undefined, "p_rate"],
    ["another field", "x", { tokens: 1 }, undefined, "tokens"],
    ["less than nothing", "x", { tokens_per_input: -1 }, undefined, "tokens_per_input"],
    ["too much", "x", { markup_percent: 1e9 }, undefined, "markup_percent"],
    [
      "nothing where there must be something",
      "x",
      { tokens_per_output: null },
      undefined,
      "tokens_per_output",
    ],
    ["a text", "x", { tokens_per_image: "1" }, undefined, "tokens_per_image"],
    ["31 decimals", "x", { tokens_per_image: 1e-31 }, undefined, "tokens_per_image"],
  ])("with %s is refused, by name", async (_, pattern, rate, from, field) => {
    const error = await setRate(pattern, rate, from).then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ code: "PT400", message: "invalid_model_rate" });
    expect(JSON.parse(error!.detail)).toMatchObject({ field });
  });

  test("leaves the books right", () => expectCleanBooks(db));
});

/** Whether a hold for a model without a price is made, where those are refused. */
async function isHeldUnknown(own: Database, spender: string): Promise<boolean> {
  const price = { p_model: "known", p_price: { input_cents_per_million: 1 }, p_reason: "a price" };
  await server("set_token_model_price", price, own);
  await server("set_token_unknown_model_policy", { p_policy: "refuse" }, own);
  await grant(own, spender, 10);
  const args = { p_user_id: spender, p_tokens: 5, p_model_used: "unknown" };
  return await server("reserve_tokens", args, own).then(
    () => true,
    ({ message }: Error) => message !== "unknown_model",
  );
}

describe("a model without a price", () => {
  const alerts = async (of: Database) =>
    (
      await of.admin.query(
        "select payload ->> 'model' as model from public.token_alerts where kind = 'model_unknown' order by id",
      )
    ).rows.map(({ model }) => model);

  test("is recorded and told of once; refused where that is chosen, but for what was done before and captures", async () => {
    const own = await createDatabase();
    try {
      const spender = await createUser(own);
      await grant(own, spender, 1_000_000);
      const track = (model: string, more: Fields = {}) =>
        server(
          "track_token_usage",
          { p_user_id: spender, p_action_type: "chat", p_model_used: model, p_input_tokens: 5, ...more },
          own,
        );
      await track("before_any_price");
      expect(await alerts(own)).toEqual([]);

      await server(
        "set_token_model_price",
        { p_model: "known", p_price: { input_cents_per_million: 1 }, p_reason: "a price" },
        own,
      );
      await track("known");
      expect(await track("new", { p_idempotency_key: "one" })).toMatchObject({
        success: true,
        cost_estimate: null,
      });
      await track("new");
      await asUser(own, spender, (client) =>
        rpc(client, "track_token_usage", {
          p_action_type: "chat",
          p_model_used: "made up by a user",
          p_input_tokens: 5,
        }),
      );
      expect(await alerts(own)).toEqual(["new"]);

      const holdFor = (model: string | null, more: Fields = {}) =>
        server("reserve_tokens", { p_user_id: spender, p_tokens: 10, p_model_used: model, ...more }, own);
      const held = await holdFor("new", { p_idempotency_key: "held" });
      await server("set_token_unknown_model_policy", { p_policy: "refuse" }, own);
      await expect(track("new")).rejects.toMatchObject({ code: "PT409", message: "unknown_model" });
      await expect(
        server(
          "estimate_tokens",
          { p_user_id: spender, p_action_type: "chat", p_model_used: "new", p_input_tokens: 5 },
          own,
        ),
      ).rejects.toMatchObject({ message: "unknown_model" });
      const ofTokens = { p_input_tokens: null, p_tokens_used: 5 };
      await expect(track("new", ofTokens)).rejects.toMatchObject({ message: "unknown_model" });
      expect(await track("known", ofTokens)).toMatchObject({ success: true });
      expect(await track("known")).toMatchObject({ success: true });
      expect(await track("new", { p_idempotency_key: "one" })).toMatchObject({
        success: true,
        replayed: true,
      });
      await expect(holdFor("new")).rejects.toMatchObject({ message: "unknown_model" });
      await expect(holdFor("new", { p_parent_hold: held.hold_id })).rejects.toMatchObject({
        message: "unknown_model",
      });
      expect(await holdFor("known")).toMatchObject({ success: true });
      expect(await holdFor("new", { p_idempotency_key: "held" })).toMatchObject({
        hold_id: held.hold_id,
        replayed: true,
      });
      const { hold_id } = await holdFor(null);
      expect(
        await server(
          "capture_tokens",
          { p_user_id: spender, p_hold_id: hold_id, p_model_used: "newer", p_input_tokens: 5 },
          own,
        ),
      ).toMatchObject({ success: true });
      expect(await alerts(own)).toEqual(["new", "newer"]);

      await server("set_token_unknown_model_policy", { p_policy: "record" }, own);
      expect(await track("new")).toMatchObject({ success: true });
      await expect(server("set_token_unknown_model_policy", { p_policy: "ask" }, own)).rejects.toMatchObject({
        message: "invalid_model_policy",
      });
      await expectCleanBooks(own);
    } finally {
      await own.drop();
    }
  });
});

test(
  "variants are caught: a rate of another time, rounding down, a bound that is not kept, a hold for what is refused",
  { tags: ["proof"] },
  async () => {
    const caught: Record<string, unknown> = {};
    for (const mutant of [
      undefined,
      "rates-of-any-moment",
      "rates-round-down",
      "actions-do-not-bound-rates",
      "holds-for-models-unknown",
    ]) {
      const own = await createDatabase();
      try {
        if (mutant !== undefined) await applyMutant(own, mutant);
        const spender = await createUser(own);
        const quote = async (args: Fields) =>
          (
            await server(
              "estimate_tokens",
              { p_user_id: spender, p_action_type: "chat", p_model_used: "m", ...args },
              own,
            )
          ).tokens;
        await setRate("m", { tokens_per_input: 0.3 }, undefined, own);
        await setRate("m", { tokens_per_input: 9 }, "2999-01-01T00:00:00Z", own);
        await server(
          "set_token_action_cost",
          { p_action_type: "capped", p_cost: { min_tokens: 1, max_tokens: 2 }, p_reason: "x" },
          own,
        );
        caught[mutant ?? "as it is"] =
          (await quote({ p_input_tokens: 4 })) !== 2 ||
          (await quote({ p_action_type: "capped", p_input_tokens: 1_000 })) !== 2 ||
          (await isHeldUnknown(own, spender));
      } finally {
        await own.drop();
      }
    }
    console.log(`caught: ${JSON.stringify(caught)}`);
    expect(Object.values(caught)).toEqual([false, true, true, true, true]);
  },
);
