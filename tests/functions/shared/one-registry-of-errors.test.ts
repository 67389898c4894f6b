import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { generateErrors, parseRegistry, readRegistry } from "../../../scripts/schema/errors.ts";
import { projectRoot } from "../../../scripts/project.ts";

const read = (...path: string[]) => readFileSync(join(projectRoot, ...path), "utf8");

describe("the registry in supabase/errors.toml", () => {
  test("changes all three when an error is added, and each of the three by what is changed in one", async () => {
    const registry = await readRegistry();
    const planted = {
      slug: "planted",
      status: 409,
      sqlstate: "PT409",
      title: "Planted",
      hint: "It's planted.",
    };
    const more = { facts: ["limit"], retryable: false, when: "it is planted.", do: "pull it out." };
    for (const [file, text] of await generateErrors([...registry, { ...planted, ...more }])) {
      expect(text.split("\n").length, file).toBeGreaterThan(read(file).split("\n").length);
      expect(text, file).toContain("planted");
    }
    const louder = registry.map((error) => ({
      ...error,
      hint: error.slug === "busy" ? "Hurry." : error.hint,
    }));
    const changed = [...(await generateErrors(louder))].filter(([file, text]) => text !== read(file));
    expect(changed.map(([file]) => file)).toEqual([
      "supabase/schemas/10_access/refuse.sql",
      "supabase/functions/_shared/errors.ts",
    ]);
  });

  test.for([
    ["a status that PostgREST does not answer", 'status = 404\nsqlstate = "PT409"', "PT409 with 404"],
    ["a field that does not exist", 'status = 409\nhints = "x"', "hints is no field"],
    ["nothing to advise", 'status = 409\ntitle = "x"\nwhen = "x"\ndo = "x"', "hint is missing"],
  ])("is refused with %s, by name", ([, fields, said]) => {
    expect(() => parseRegistry(`[planted]\n${fields}`)).toThrow(said);
    expect(() => parseRegistry(`[planted]\n${fields}`)).toThrow("planted");
  });

  test("has every slug that is refused with anywhere in supabase/schemas, and raises no other", async () => {
    const folder = join(projectRoot, "supabase", "schemas");
    const used = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".sql"))
      .map((file) => readFileSync(join(folder, file), "utf8"))
      .flatMap((sql) => [
        // some refuse with the slug that they are given, and one says which it is to be
        ...sql.matchAll(
          /(?:refuse|answer_refusal|describe_refusal|check_offer|write_offer|check_price_ids)\(\s*'(\w+)'/g,
        ),
        ...[...sql.matchAll(/refusal := .*/g)].flatMap(([line]) => [...line.matchAll(/'(\w+)'/g)]),
      ])
      .map(([, slug]) => slug!);
    const raised = (await readRegistry()).filter(({ sqlstate }) => sqlstate !== null);
    expect(used.length).toBeGreaterThan(10);
    expect([...new Set(used)].toSorted()).toEqual(raised.map(({ slug }) => slug).toSorted());
  });
});

test("all functions resolve _shared by the same import map, with exact versions and no lock file", () => {
  const configs = Object.entries(readConfigs());
  const shared = readConfigs()["plans"]!.imports;
  expect(configs.length).toBeGreaterThan(6);
  for (const [name, { imports, lock }] of configs) {
    expect([name, imports]).toEqual([name, { ...imports, ...shared }]);
    expect([name, lock]).toEqual([name, false]);
    for (const target of Object.values(imports)) expect(target).toMatch(/^npm:.+@\d+\.\d+\.\d+$/);
  }
});

test("the stripe that signs the tests' events is the stripe that verifies them", () => {
  const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
  expect(readConfigs()["stripe-webhook"]!.imports["stripe"]).toBe(`npm:stripe@${devDependencies["stripe"]}`);
});

test("the standardwebhooks that verifies in the tests is the one that signs", () => {
  const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
  expect(readConfigs()["deliver-webhooks"]!.imports["standardwebhooks"]).toBe(
    `npm:standardwebhooks@${devDependencies["standardwebhooks"]}`,
  );
});

test("the csv-stringify of npm run export is that of the balance function", () => {
  const { dependencies } = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
  expect(readConfigs()["balance"]!.imports["csv-stringify"]).toBe(
    `npm:csv-stringify@${dependencies["csv-stringify"]}`,
  );
});

/** The deno.json of each function, by its name. */
function readConfigs(): Record<string, { imports: Record<string, string>; lock: boolean }> {
  const folders = readdirSync(join(projectRoot, "supabase/functions"), { withFileTypes: true });
  const names = folders.filter((it) => it.isDirectory() && it.name !== "_shared").map((it) => it.name);
  return Object.fromEntries(
    names.map((name) => [name, JSON.parse(read("supabase/functions", name, "deno.json"))]),
  );
}
