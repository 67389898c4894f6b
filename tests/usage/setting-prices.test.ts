/** What models cost the project and what actions cost users: changed by admins and the server, from a moment on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  user = await createUser(db);
  await grant(db, user, 1_000_000);
});
afterAll(() => db.drop());

type Fields = Record<string, unknown>;
const server = (name: string, args: Fields, of = db) => asService(of, (client) => rpc(client, name, args));
const setPrice = (model: unknown, price: unknown, from?: string, of = db) =>
  server(
    "set_token_model_price",
    {
      p_model: model,
      p_price: price,
      p_reason: "a reason",
      ...(from !== undefined && { p_valid_from: from }),
    },
    of,
  );
const setCost = (action: unknown, cost: unknown) =>
  server("set_token_action_cost", { p_action_type: action, p_cost: cost, p_reason: "a reason" });
const pricesOf = async (model: string, of = db) =>
  (
    await of.admin.query(
      `select input_cents_per_million::float as input, output_cents_per_million::float as output
         from public.token_model_prices where model = $1 order by valid_from`,
      [model],
    )
  ).rows;
const both = async () =>
  (
    await db.admin.query(
      `select (select jsonb_agg(p order by p.model, p.valid_from) from public.token_model_prices p) as prices,
              (select jsonb_agg(c order by c.action_type) from public.token_action_costs c) as costs,
              (select count(*)::int from tokenbook.changes) as changes`,
    )
  ).rows[0];
const use = (args: Fields) =>
  asUser(db, user, (client) =>
    rpc(client, "track_token_usage", { p_action_type: "chat_conversation", ...args }),
  );
const estimate = (action: string, tokens: number) =>
  asUser(db, user, (client) =>
    rpc(client, "estimate_tokens", { p_action_type: action, p_input_tokens: tokens }),
  ).then(({ tokens: estimated }) => estimated);

describe("the price of a model", () => {
  test("holds from now on; the former one stays, and what was booked at it", async () => {
    expect(
      await setPrice("m1", { input_cents_per_million: 50, output_cents_per_million: 400 }),
    ).toMatchObject({
      success: true,
      model: "m1",
      is_new: true,
      changed: ["input_cents_per_million", "output_cents_per_million"],
      price: { model: "m1", input_cents_per_million: 50, cached_input_cents_per_million: null },
    });
    const first = await use({ p_model_used: "m1", p_input_tokens: 100_000 });

    expect(await setPrice("m1", { input_cents_per_million: 20.5 })).toMatchObject({
      is_new: false,
      changed: ["input_cents_per_million"],
      price: { input_cents_per_million: 20.5, output_cents_per_million: 400 },
    });
    const second = await use({ p_model_used: "m1", p_input_tokens: 100_000 });

    expect([first.cost_estimate, second.cost_estimate].map(Number)).toEqual([5, 2.05]);
    const { rows } = await db.admin.query(
      "select cost_estimate::float as cost from public.token_usage where model_used = 'm1' order by created_at",
    );
    expect(rows).toEqual([{ cost: 5 }, { cost: 2.05 }]);
    expect(await pricesOf("m1")).toEqual([
      { input: 50, output: 400 },
      { input: 20.5, output: 400 },
    ]);
  });

  test("can be planned, and another be planned in its place; until then the one of now counts", async () => {
    await setPrice("m2", { input_cents_per_million: 10 });
    await setPrice("m2", { input_cents_per_million: 30 }, "2999-01-01T00:00:00Z");
    expect(await setPrice("m2", { input_cents_per_million: 40 }, "2999-01-01T00:00:00Z")).toMatchObject({
      changed: ["input_cents_per_million"],
      price: { input_cents_per_million: 40, valid_from: expect.stringContaining("2999-01-01") },
    });
    expect(await pricesOf("m2")).toEqual([
      { input: 10, output: null },
      { input: 40, output: null },
    ]);
    expect(Number((await use({ p_model_used: "m2", p_input_tokens: 100_000 })).cost_estimate)).toBe(1);
  });

  test("the same again, or with nothing in it, changes nothing; null is not known any more", async () => {
    await setPrice("m3", { cents_per_image: 4 });
    const before = await both();
    expect(await setPrice("m3", { cents_per_image: 4.0 })).toMatchObject({ changed: [] });
    expect(await setPrice("m3", {})).toMatchObject({ changed: [], price: { cents_per_image: 4 } });
    expect(await both()).toEqual(before);

    await setPrice("m3", { cents_per_image: null });
    expect((await use({ p_model_used: "m3", p_images: 1, p_tokens_used: 1 })).cost_estimate).toBeNull();
  });

  test.each<[string, unknown, unknown, string | undefined, Fields]>([
    [
      "a moment that is over",
      "m1",
      { cents_per_image: 1 },
      "2020-01-01T00:00:00Z",
      { field: "p_valid_from" },
    ],
    ["no beginning", "m1", { cents_per_image: 1 }, "-infinity", { field: "p_valid_from" }],
    ["never", "m1", { cents_per_image: 1 }, "infinity", { field: "p_valid_from" }],
    ["no model", null, { cents_per_image: 1 }, undefined, { field: "p_model" }],
    ["a blank model", " ", { cents_per_image: 1 }, undefined, { field: "p_model" }],
    ["a model of 201 bytes", "m".repeat(201), { cents_per_image: 1 }, undefined, { field: "p_model" }],
    ["a new model without a price", "new", { cents_per_image: null }, undefined, { field: "p_price" }],
    ["a list", "m1", [], undefined, { field: "p_price" }],
    ["null", "m1", null, undefined, { field: "p_price" }],
    ["a price below 0", "m1", { cents_per_image: -1 }, undefined, { field: "cents_per_image" }],
    ["a price of 300 decimals", "m1", { cents_per_image: 1e-300 }, undefined, { field: "cents_per_image" }],
    ["a price that is a text", "m1", { cents_per_image: "4" }, undefined, { field: "cents_per_image" }],
    ["an endless price", "m1", { cents_per_minute: 1e300 }, undefined, { field: "cents_per_minute" }],
    [
      "a field that is none",
      "m1",
      { price: 1 },
      undefined,
      { field: "price", rule: "a field that can be set" },
    ],
    ["its moment as a field", "m1", { valid_from: "2020-01-01" }, undefined, { field: "valid_from" }],
  ])("with %s is refused, by name", async (_, model, price, from, facts) => {
    const before = await both();
    const error = await setPrice(model, price, from).then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ code: "PT400", message: "invalid_model_price" });
    expect(JSON.parse(error!.detail)).toMatchObject({ rule: expect.any(String), ...facts });
    expect(await both()).toEqual(before);
  });
});

describe("the cost of an action", () => {
  test("counts from now on, changes in what is given, and is gone again with null", async () => {
    const costs: [unknown, number][] = [
      [{ min_tokens: 5, max_tokens: 50 }, 5],
      [{ max_tokens: 50.0 }, 5],
      [{ min_tokens: 20 }, 20],
      [{ min_tokens: 500, max_tokens: 500 }, 500],
      [null, 3],
    ];
    const seen: number[] = [];
    for (const [cost] of costs) {
      await setCost("drawing", cost);
      seen.push(await estimate("drawing", 3));
    }
    expect(seen).toEqual(costs.map(([, tokens]) => tokens));
  });

  test("the same again changes nothing; what was charged before stays", async () => {
    expect(await setCost("song", { min_tokens: 7, max_tokens: 7 })).toMatchObject({
      is_new: true,
      changed: ["max_tokens", "min_tokens"],
      cost: { action_type: "song", min_tokens: 7, max_tokens: 7 },
    });
    await use({ p_action_type: "song", p_input_tokens: 1 });
    const before = await both();
    expect(await setCost("song", { min_tokens: 7 })).toMatchObject({ is_new: false, changed: [] });
    expect(await setCost("never_priced", null)).toMatchObject({ is_new: false, changed: [], cost: null });
    expect(await both()).toEqual(before);
    await setCost("song", { max_tokens: 9 });
    const { rows } = await db.admin.query(
      "select tokens_used::int from public.token_usage where action_type = 'song'",
    );
    expect(rows).toEqual([{ tokens_used: 7 }]);
  });

  test.each<[string, unknown, unknown, Fields]>([
    ["no most", "poem", { min_tokens: 1 }, { field: "max_tokens" }],
    ["no least", "poem", { max_tokens: 1 }, { field: "min_tokens" }],
    ["nothing", "poem", {}, { field: "min_tokens" }],
    ["a least above the most", "poem", { min_tokens: 2, max_tokens: 1 }, { field: "max_tokens" }],
    ["less than nothing", "poem", { min_tokens: -1, max_tokens: 1 }, { field: "min_tokens" }],
    ["half a token", "poem", { min_tokens: 0.5, max_tokens: 1 }, { field: "min_tokens" }],
    ["too many", "poem", { min_tokens: 1, max_tokens: 1e13 }, { field: "max_tokens" }],
    ["a text", "poem", { min_tokens: "1", max_tokens: 1 }, { field: "min_tokens" }],
    ["null in it", "poem", { min_tokens: null, max_tokens: 1 }, { field: "min_tokens" }],
    ["another field", "poem", { tokens: 1 }, { field: "tokens", rule: "a field that can be set" }],
    ["a list", "poem", [], { field: "p_cost" }],
  ])("with %s is refused, by name", async (_, action, cost, facts) => {
    const before = await both();
    const error = await setCost(action, cost).then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ code: "PT400", message: "invalid_action_cost" });
    expect(JSON.parse(error!.detail)).toMatchObject({ rule: expect.any(String), ...facts });
    expect(await both()).toEqual(before);
  });

  test.each(["Not a name", "", null, "admin_grant"])("of %j is refused: it is no action", async (action) => {
    await expect(setCost(action, { min_tokens: 1, max_tokens: 1 })).rejects.toMatchObject({
      message: "invalid_action_type",
    });
  });
});

describe("who changes them", () => {
  const calls: [string, Fields][] = [
    ["set_token_model_price", { p_model: "mine", p_price: { cents_per_image: 1 }, p_reason: "mine" }],
    [
      "set_token_action_cost",
      { p_action_type: "mine", p_cost: { min_tokens: 1, max_tokens: 1 }, p_reason: "mine" },
    ],
  ];

  test.each(calls)("%s: admins and the server, and nobody else", async (name, args) => {
    const before = await both();
    const former = await createUser(db, { admin: true });
    await db.admin.query("delete from tokenbook.admins where user_id = $1", [former]);
    const refused = { code: "42501" };

    await expect(asAnon(db, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asUser(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asAdmin(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asAdmin(db, former, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    for (const reason of [null, "", " \n", "r".repeat(501)]) {
      await expect(server(name, { ...args, p_reason: reason })).rejects.toMatchObject({
        message: "invalid_reason",
      });
    }
    expect(await both()).toEqual(before);
    expect(await asAdmin(db, admin, (client) => rpc(client, name, args))).toMatchObject({ success: true });
    expect(await asService(db, (client) => rpc(client, name, args))).toMatchObject({ success: true });
  });

  test("is kept with the reason and what was there before", async () => {
    await setPrice("kept", { cents_per_image: 4 });
    await setCost("kept", { min_tokens: 1, max_tokens: 2 });
    await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_model_price", {
        p_model: "kept",
        p_price: { cents_per_image: 5 },
        p_reason: "dearer",
      }),
    );
    await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_action_cost", { p_action_type: "kept", p_cost: null, p_reason: "free" }),
    );
    const { changes } = await asAdmin(db, admin, (client) =>
      rpc(client, "list_token_changes", { p_limit: 2 }),
    );
    expect(changes).toMatchObject([
      {
        change: "set_token_action_cost",
        actor_role: "admin",
        actor_id: admin,
        reason: "free",
        details: { action_type: "kept", before: { min_tokens: 1, max_tokens: 2 } },
      },
      {
        change: "set_token_model_price",
        actor_id: admin,
        reason: "dearer",
        details: { model: "kept", before: { cents_per_image: 4 }, after: { cents_per_image: 5 } },
      },
    ]);
  });

  test("nobody writes the tables in another way", async () => {
    for (const [table, column] of [
      ["token_model_prices", "cents_per_image"],
      ["token_action_costs", "min_tokens"],
    ]) {
      const write = `update public.${table} set ${column} = 1 where true`;
      await expect(asService(db, (client) => client.query(write))).rejects.toMatchObject({ code: "42501" });
      await expect(asAdmin(db, admin, (client) => client.query(write))).rejects.toMatchObject({
        code: "42501",
      });
    }
  });
});

test("a variant in which prices are backdated is caught", { tags: ["proof"] }, async () => {
  const accepted: Record<string, boolean> = {};
  for (const mutant of [undefined, "prices-are-backdated"]) {
    const own = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(own, mutant);
      await setPrice("m", { cents_per_image: 4 }, undefined, own);
      accepted[mutant ?? "as it is"] = await setPrice(
        "m",
        { cents_per_image: 9 },
        "2020-01-01T00:00:00Z",
        own,
      ).then(
        () => true,
        () => false,
      );
    } finally {
      await own.drop();
    }
  }
  console.log(`a price for a moment that is over: ${JSON.stringify(accepted)}`);
  expect(accepted).toEqual({ "as it is": false, "prices-are-backdated": true });
});
