// @module-tag proof
import { supabase } from "local-platform/project/supabase-cli";
import { withConnection } from "../../../packages/tokenbook/src/database/connection.ts";
import {
  type Findings,
  inlinedFunctions,
  type LintName,
  lints,
  lintsOf,
  runLints,
} from "../../../scripts/schema/lints.ts";
import { createInstalled } from "../../support/callers.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { alsoFound, defects, defectsForTheAdvisors } from "../../support/planted-defects.ts";
import { keep, type Tried } from "./promise.ts";

/** What the CLI bundles: the lints of splinter up to 0024, but 0012, which is no question to a database. */
const bundled = 23;

/** What the advisors say of us to be thought about, and why it stays. */
const known: Record<string, { why: string; objects: RegExp }> = {
  function_search_path_mutable: {
    why: "Postgres writes a function into the statement that calls it only if it sets nothing (decision 22); no client may call these, and their callers set theirs",
    objects: new RegExp(`^(${inlinedFunctions.join("|")})$`),
  },
  rls_enabled_no_policy: { why: "what is in tokenbook is for nobody", objects: /^tokenbook\./ },
  unused_index: { why: "in a database that is a minute old, none has been used", objects: /./ },
};

keep({
  id: "P12",
  promise: "Every lint is clean: Supabase's advisors at every level, and the rules of the house",
  trial:
    "The advisors that the Supabase CLI bundles (splinter's lints 0001 to 0024) and the rules of the house, which stand for 0025 to 0029 too, over the whole catalogue, in a project with the legacy default privileges and in one without",
  run: async () => {
    const wrong: string[] = [];
    const mix: Record<string, number> = {};
    for (const world of ["legacy", "closed"] as const) {
      const db = await createInstalled(world);
      for (const { name, object } of await advise(db)) {
        if (known[name]?.objects.test(object)) mix[`${name}, known`] = (mix[`${name}, known`] ?? 0) + 1;
        else wrong.push(`${world}: ${name}: ${object}`);
      }
      for (const [name, objects] of Object.entries(await runLints(db.url())))
        wrong.push(
          ...objects.map((object) => `${world}: ${name}: ${object}: ${lints[name as LintName].why}`),
        );
      mix["names in public"] = (mix["names in public"] ?? 0) + (await namesOf(db));
      mix["names outside the rule"] = wrong.filter((one) => one.includes(": name_outside_the_rule: ")).length;
      await db.drop();
    }
    const rules = Object.keys(lints).length;
    Object.assign(mix, {
      "the CLI's lints": bundled,
      "rules of the house": rules,
      clean: 2 * (rules + bundled) - wrong.length,
    });
    return { times: 2 * (rules + bundled), unit: "lints", mix, violations: wrong.length, examples: wrong };
  },
  control: {
    variant: "for each lint something that breaks it, which it finds, and no other does",
    run: async () => {
      const house = await plantForTheHouse();
      const advisors = await plantForTheAdvisors();
      const missed = [...house.missed, ...advisors.missed];
      return {
        times: house.planted + advisors.planted,
        unit: "lints",
        mix: {},
        violations: missed.length > 0 ? 0 : house.planted + advisors.planted,
        examples: missed,
      } satisfies Tried;
    },
  },
});

/** What the CLI's advisors find, at every level. */
async function advise(db: Database): Promise<{ name: string; object: string }[]> {
  const { stdout, stderr } = await supabase([
    "db",
    "advisors",
    `--remote=${db.url()}?sslmode=disable`,
    "--level",
    "info",
    "--output-format",
    "json",
  ]);
  const answer = /\{.*\}/s.exec(stdout)?.[0];
  if (answer === undefined) throw new Error(`the advisors say: ${stdout} ${stderr}`);
  const { results } = JSON.parse(answer) as {
    results: { name: string; metadata?: { schema?: string; name?: string } }[];
  };
  return results.map(({ name, metadata }) => ({
    name,
    object: [metadata?.schema, metadata?.name].filter(Boolean).join("."),
  }));
}

/** How many names the rule is asked of: relations, functions and types that are no relation's. */
async function namesOf(db: Database): Promise<number> {
  const { rows } = await db.admin.query(`
    select (select count(*) from pg_class where relnamespace = 'public'::regnamespace)::int
           + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace)::int
           + (select count(*) from pg_type where typnamespace = 'public'::regnamespace and typrelid = 0 and typelem = 0)::int as names`);
  return rows[0].names as number;
}

interface Planted {
  planted: number;
  missed: string[];
}

async function plantForTheHouse(): Promise<Planted> {
  const db = await createDatabase();
  const missed: string[] = [];
  for (const [name, { sql, found }] of Object.entries(defects) as [LintName, (typeof defects)[LintName]][]) {
    const findings = await withConnection(db.url(), async (client) => {
      await client.query(`begin; ${sql}`);
      return await lintsOf(client);
    });
    const expected: Partial<Findings> = { ...alsoFound[name], [name]: found };
    for (const lint of Object.keys(lints) as LintName[]) {
      const [is, should] = [findings[lint], (expected[lint] ?? []).toSorted()].map((them) => them.join(", "));
      if (is !== should)
        missed.push(`${lint} finds (${is}), not (${should}), in what is planted for ${name}`);
    }
  }
  await db.drop();
  return { planted: Object.keys(defects).length, missed };
}

async function plantForTheAdvisors(): Promise<Planted> {
  const db = await createDatabase();
  await db.admin.query(defectsForTheAdvisors.sql);
  const findings = await advise(db);
  await db.drop();
  const expected = Object.entries(defectsForTheAdvisors.found);
  const missed = expected.filter(
    ([lint, object]) =>
      !findings.some((finding) => finding.name === lint && finding.object.split(".").at(-1) === object),
  );
  return {
    planted: expected.length,
    missed: missed.map(([lint, object]) => `${lint} does not find ${object}`),
  };
}
