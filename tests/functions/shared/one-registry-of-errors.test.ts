import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { projectRoot } from "../../../scripts/local/settings.ts";
import { errors, type ErrorKind } from "../../../supabase/functions/_shared/errors.ts";

const kinds: [string, ErrorKind][] = Object.entries(errors);
const read = (...path: string[]) => readFileSync(join(projectRoot, ...path), "utf8");
const docs = read("docs", "errors.md");

/** slug -> [SQLSTATE, hint], from the values list in tokenbook.refuse. */
const inSql = new Map(
  [
    ...read("supabase/schemas/10_access/refuse.sql").matchAll(
      /^ *\('(\w+)', '(\w{5})', '((?:[^']|'')*)'\)/gm,
    ),
  ].map(([, slug, sqlstate, hint]) => [slug!, [sqlstate!, hint!.replaceAll("''", "'")]]),
);

describe("the registry in errors.ts", () => {
  test("has the SQLSTATE and the hint of every error that SQL raises, and no other", () => {
    const raised = kinds.filter(([, kind]) => kind.sqlstate !== null);
    const known = raised.map(([slug, kind]) => [slug, [kind.sqlstate, kind.hint]] as const);
    expect(inSql.size).toBeGreaterThan(10);
    expect(Object.fromEntries(known)).toEqual(Object.fromEntries(inSql));
  });

  test("gives the HTTP status that PostgREST makes of the SQLSTATE", () => {
    for (const [slug, { sqlstate, status }] of kinds) {
      if (sqlstate?.startsWith("PT")) expect([slug, status]).toEqual([slug, Number(sqlstate.slice(2))]);
      if (sqlstate === "42501") expect([401, 403]).toContain(status);
    }
  });

  test("has every slug that is refused with anywhere in supabase/schemas", () => {
    const folder = join(projectRoot, "supabase", "schemas");
    const used = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".sql"))
      .flatMap((file) => [...readFileSync(join(folder, file), "utf8").matchAll(/refuse\('(\w+)'/g)])
      .map(([, slug]) => slug!);
    expect(used.length).toBeGreaterThan(10);
    expect(used.filter((slug) => !inSql.has(slug))).toEqual([]);
    expect([...inSql.keys()].filter((slug) => !used.includes(slug))).toEqual([]);
  });

  test("is the table in docs/errors.md, row by row", () => {
    const rows = [...docs.matchAll(/^\| \[(\w+)\]\(#(\w+)\) \| (\S+) \| (\d+) \| .* \| (yes|no) \|$/gm)];
    expect(
      rows.map(([, slug, anchor, sqlstate, status, retryable]) => [
        slug,
        anchor,
        sqlstate,
        status,
        retryable,
      ]),
    ).toEqual(
      kinds.map(([slug, kind]) => [
        slug,
        slug,
        kind.sqlstate ?? "–",
        String(kind.status),
        kind.retryable ? "yes" : "no",
      ]),
    );
  });

  test("has a heading with an explanation and an advice for every slug in docs/errors.md", () => {
    const sections = docs.split(/^## /m).slice(1);
    const explained = sections
      .filter((s) => /\*\*When\*\*[^]+\*\*Do\*\*/.test(s))
      .map((s) => s.split("\n")[0]);
    expect(explained).toEqual(kinds.map(([slug]) => slug));
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
  expect(readConfigs()["deliver-alerts"]!.imports["standardwebhooks"]).toBe(
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
