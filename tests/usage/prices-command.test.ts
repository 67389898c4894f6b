/** `tokenbook prices`: what models cost, from the terminal and from a file. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCatalogue } from "../../packages/tokenbook/src/prices/catalogue.ts";
import snapshot from "../../packages/tokenbook/src/prices/snapshot.json" with { type: "json" };
import { run, runHere } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

let db: Database;
let folder: string;
beforeAll(async () => {
  db = await createDatabase();
  folder = await mkdtemp(join(tmpdir(), "tokenbook-prices-"));
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true });
});

const prices = (...args: string[]) => runHere("prices", [...args, "--db-url", db.url()]);
const rows = async () =>
  (
    await db.admin.query(
      "select to_jsonb(p) as row from public.token_model_prices p order by model, valid_from",
    )
  ).rows;
const file = async (name: string, text: string) => {
  await writeFile(join(folder, name), text);
  return join(folder, name);
};
const costOf = async (model: string) => {
  const user = await createUser(db);
  const receipt = await asService(db, (client) =>
    rpc(client, "track_token_usage", {
      p_user_id: user,
      p_action_type: "chat_conversation",
      p_model_used: model,
      p_input_tokens: 1_000_000,
      p_output_tokens: 0,
      p_tokens_used: 1_000_000,
      p_on_shortage: "partial",
    }),
  );
  return receipt.cost_estimate;
};

test("a price is set, listed and used; the former one stays", async () => {
  expect((await run("prices", ["list", "--db-url", db.url()])).stdout).toContain("No model has a price");
  const first = await prices("set", "large-1", "--input", "250", "--output", "1000.5");
  expect([first.status, first.stdout]).toEqual([
    0,
    "large-1 (new): input_cents_per_million 250, output_cents_per_million 1000.5\n",
  ]);
  expect(await costOf("large-1")).toBe(250);
  expect(await prices("set", "large-1", "--input", "300")).toMatchObject({ status: 0 });
  expect(await prices("set", "large-1", "--input", "300")).toMatchObject({
    stdout: "large-1 costs that already.\n",
  });
  expect(
    await prices("set", "large-1", "--output", "900", "--valid-from", "2990-01-01T00:00Z"),
  ).toMatchObject({ status: 0 });
  expect(await costOf("large-1")).toBe(300);

  const { prices: all } = JSON.parse((await prices("list", "--history", "--json")).stdout);
  expect(
    all.map(({ state, input_cents_per_million, output_cents_per_million }: Record<string, string>) => [
      state,
      input_cents_per_million,
      output_cents_per_million,
    ]),
  ).toEqual([
    ["past", "250", "1000.5"],
    ["now", "300", "1000.5"],
    ["planned", "300", "900"],
  ]);
  expect((await prices("list")).stdout.match(/large-1/g)).toHaveLength(2);
});

test("a file: a dry run changes nothing, --book sets all of it, and again changes nothing", async () => {
  const csv = await file(
    "prices.csv",
    "model,input_cents_per_million,cached_input_cents_per_million,output_cents_per_million,valid_from\n" +
      "large-1,310,,unknown,\nsmall-1,0.000000000000000000000000000001,2,40,\nnext-1,1,,,2990-06-01T00:00Z\n",
  );
  const before = await rows();
  const dry = await prices("import", csv);
  expect(dry).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("3 prices of 3 models would be set, 0 as they are."),
  });
  expect(await rows()).toEqual(before);

  const booked = await prices("import", csv, "--book", "--json");
  expect(JSON.parse(booked.stdout)).toMatchObject({
    booked: true,
    models: 3,
    changed: [{ model: "large-1" }, {}, {}],
  });
  expect((await rows()).length).toBe(before.length + 3);
  const { rows: small } = await db.admin.query(
    "select input_cents_per_million::text as input from public.token_model_prices where model = 'small-1'",
  );
  expect(small).toEqual([{ input: "0.000000000000000000000000000001" }]);
  expect((await prices("import", csv, "--book")).stdout).toContain(
    "0 prices of 3 models set, 3 as they are.",
  );
  const { changes } = await asService(db, (client) => rpc(client, "list_token_changes", { p_limit: 1 }));
  expect(changes[0]).toMatchObject({
    change: "set_token_model_price",
    reason: expect.stringContaining("tokenbook prices import"),
  });
});

test("JSON is read too, and a former price that is there is the one that is meant", async () => {
  const [{ row }] = (await rows()) as [
    { row: { model: string; valid_from: string; input_cents_per_million: number } },
  ];
  // as Windows saves it, and with blanks
  const entry = { ...pick(row), model: ` ${row.model} `, valid_from: row.valid_from };
  const json = await file("prices.json", `\uFEFF${JSON.stringify([entry])}`);
  expect((await prices("import", json, "--book")).stdout).toContain(
    "0 prices of 1 model set, 1 as they are.",
  );
});
const pick = ({ model, input_cents_per_million }: { model: string; input_cents_per_million: number }) => ({
  model,
  input_cents_per_million,
});

test("what is wrong is named, and nothing of the file is set", async () => {
  const before = await rows();
  for (const [name, text, says] of [
    ["a.csv", "model,price\nx,1\n", "There is no price price"],
    ["b.csv", "model,input_cents_per_million\nx,1\nx,2\n", "x is in"],
    ["c.csv", "model,input_cents_per_million\nfine,1\ny,-1\n", "line 3"],
    [
      "d.csv",
      "model,input_cents_per_million\nfine,1\nz,9999999999999999\n",
      "z: input_cents_per_million must be 0 to",
    ],
    ["e.csv", "model,input_cents_per_million,valid_from\nfine,1,yesterday\n", "no moment"],
    [
      "f.csv",
      "model,input_cents_per_million,valid_from\nfine,1,2020-01-01T00:00Z\n",
      "valid_from must be a moment to come",
    ],
    ["g.csv", "model\n", "has no prices"],
    ["f.csv", "model,input_cents_per_million,valid_from\nfine,1,01/02/2990\n", '01/02/2990" is no moment'],
    ["j.csv", "model,input_cents_per_million,input_cents_per_million\nx,1,2\n", "two columns input_cents"],
    ["k.json", '[{"model": "x", "input_cents_per_million": 1, "valid_from": 32188406400000}]', "no moment"],
    ["l.json", '[{"model": " ", "input_cents_per_million": 1}]', "names no model"],
    ["h.json", "{}", "no array"],
    ["i.json", "[", "no JSON"],
  ] as const) {
    const refused = await prices("import", await file(name, text), "--book");
    expect([name, refused.status, refused.stderr]).toEqual([name, 2, expect.stringContaining(says)]);
  }
  expect(await prices("set", "x")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("Say a price"),
  });
  expect(await prices("set", "x", "--input", "cheap")).toMatchObject({ status: 2 });
  expect(await prices("set", "x", "--input", "1", "--valid-from", "01/02/2990")).toMatchObject({ status: 2 });
  expect(await rows()).toEqual(before);
});

describe("sync", () => {
  const inForce = async (model: string) =>
    (
      await db.admin.query(
        `select trim_scale(p.input_cents_per_million)::text as input, trim_scale(p.cached_input_cents_per_million)::text as cached,
                trim_scale(p.output_cents_per_million)::text as output, p.source
           from public.token_model_prices p where p.model = $1 and p.valid_from <= clock_timestamp() order by p.valid_from desc limit 1`,
        [model],
      )
    ).rows[0];

  test("the snapshot says its source, and has 40 models or more", () => {
    const { source, providers } = snapshot;
    expect(source).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      published: expect.stringMatching(/^20\d\d-\d\d-\d\d$/),
      license: "MIT",
    });
    expect(readCatalogue(undefined, Object.keys(providers)).wanted.length).toBeGreaterThan(40);
  });

  test("shows the differences and changes nothing; --book sets them; again there are none; what was set by hand stays", async () => {
    await prices("set", "gpt-4", "--input", "1", "--output", "2");
    const before = await rows();
    const dry = await prices("sync");
    expect(dry.status).toBe(0);
    expect(dry.stdout).toMatch(/gpt-5-mini \(new\) +│ +25 │ +2\.5 │ +200 │/);
    expect(dry.stdout).toContain("1 set by hand and left alone.");
    expect(dry.stdout).toContain("Nothing was changed. To set them: --book");
    expect(await rows()).toEqual(before);

    const booked = JSON.parse((await prices("sync", "--book", "--json")).stdout);
    expect(booked).toMatchObject({ booked: true, manual: ["gpt-4"] });
    expect(booked.changed.length).toBe(booked.models - 1);
    expect(await inForce("gpt-5-mini")).toEqual({
      input: "25",
      cached: "2.5",
      output: "200",
      source: "synced",
    });
    expect(await inForce("gpt-4")).toEqual({ input: "1", cached: null, output: "2", source: "manual" });
    expect(await costOf("gpt-5-mini")).toBe(25);

    const after = await rows();
    expect(JSON.parse((await prices("sync", "--book", "--json")).stdout)).toMatchObject({ changed: [] });
    expect(await rows()).toEqual(after);
  });

  test("a price that is set by hand is nobody else's from then on", async () => {
    expect((await prices("set", "gpt-5-nano", "--input", "5")).stdout).toBe(
      "gpt-5-nano costs that already, and is set by hand now.\n",
    );
    const api = await file(
      "api.json",
      JSON.stringify({ openai: { models: { "gpt-5-nano": { cost: { input: 9, output: 9 } } } } }),
    );
    expect((await prices("sync", "--file", api, "--provider", "openai", "--book")).stdout).toContain(
      "0 prices of 1 model set",
    );
    expect(await inForce("gpt-5-nano")).toMatchObject({ input: "5", source: "manual" });
  });

  test("a file as models.dev publishes it: to the last digit, former prices stay, what has none is left out", async () => {
    const api = await file(
      "api.json",
      JSON.stringify({
        openai: {
          id: "openai",
          models: {
            "gpt-5-mini": { id: "gpt-5-mini", cost: { input: 0.0375, output: 0.29, cache_read: 0.0003 } },
            "in-a-plan": { cost: { input: 0, output: 0 } },
            without: {},
          },
        },
      }),
    );
    const shown = await prices("sync", "--file", api, "--provider", "openai");
    expect(shown.stdout).toMatch(/gpt-5-mini +│ +25 → 3\.75 │ +2\.5 → 0\.03 │ +200 → 29 │/);
    await prices("sync", "--file", api, "--provider", "openai", "--book");
    expect(await inForce("gpt-5-mini")).toEqual({
      input: "3.75",
      cached: "0.03",
      output: "29",
      source: "synced",
    });
    const { rows: former } = await db.admin.query(
      "select count(*)::int as prices from public.token_model_prices where model = 'gpt-5-mini'",
    );
    expect(former).toEqual([{ prices: 2 }]);
    expect(await inForce("in-a-plan")).toBeUndefined();
  });

  test("what is wrong is named, and nothing is set", async () => {
    const before = await rows();
    const model = (input: unknown) => ({ models: { same: { cost: { input, output: 1 } } } });
    for (const [name, text, providers, says] of [
      ["a.json", "[]", ["openai"], "is no catalogue"],
      ["b.json", "{", ["openai"], "is no catalogue"],
      ["c.json", "{}", ["openai"], "no provider openai"],
      [
        "d.json",
        JSON.stringify({ a: model(1), b: model(2) }),
        ["a", "b"],
        "same has one price of a and another of b",
      ],
      ["e.json", JSON.stringify({ a: model("1") }), ["a"], "is no price"],
      ["f.json", JSON.stringify({ a: { models: {} } }), ["a"], "has no prices"],
    ] as const) {
      const refused = await prices(
        "sync",
        "--file",
        await file(name, text),
        "--provider",
        ...providers,
        "--book",
      );
      expect([name, refused.status, refused.stderr]).toEqual([name, 2, expect.stringContaining(says)]);
    }
    expect(await rows()).toEqual(before);
  });

  test("a variant in which a catalogue overrules a person is caught", { tags: ["proof"] }, async () => {
    const stays: boolean[] = [];
    for (const mutant of [undefined, "synced-prices-win"]) {
      const own = await createDatabase();
      try {
        if (mutant !== undefined) await applyMutant(own, mutant);
        for (const [p_source, cents] of [
          ["manual", 1],
          ["synced", 2],
        ] as const) {
          await asService(own, (client) =>
            rpc(client, "set_token_model_price", {
              p_model: "m",
              p_price: { input_cents_per_million: cents },
              p_reason: "a price",
              p_source,
            }),
          );
        }
        const { rows: kept } = await own.admin.query(
          "select input_cents_per_million::int as cents from public.token_model_prices order by valid_from desc limit 1",
        );
        stays.push(kept[0].cents === 1);
      } finally {
        await own.drop();
      }
    }
    expect(stays).toEqual([true, false]);
  });
});
