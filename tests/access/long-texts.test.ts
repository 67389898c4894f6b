/** Every text that the API takes has an end: what is too long is refused by name, and no row keeps it. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { errors, isSlug } from "../../supabase/functions/_shared/errors.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asService, rpc } from "../support/roles.ts";
import { told } from "../support/provider-events.ts";

const long = "x".repeat(4_000_000);

/** A JSON argument with a text of that length in it, as near to a right one as can be. */
const inJson = (name: string, right: unknown): unknown => {
  if (Array.isArray(right)) return right.map((item) => ({ ...item, metadata: { long } }));
  return { ...(right as object), ...(name === "p_facts" ? { currency: long } : { long }) };
};

interface Answer {
  /** The function and its parameter. */
  asked: string;
  /** A slug, what Postgres said, or `answers`. */
  outcome: string;
}

/** What comes of 4,000,000 characters in each text of each function, and the size of the longest row afterwards. */
async function trial(variant?: string, only?: string): Promise<{ answers: Answer[]; longest: number }> {
  const db = await createDatabase();
  if (variant !== undefined) await applyMutant(db, variant);
  const answers: Answer[] = [];
  for (const fn of (await callablesOf(db)).filter(({ schema }) => schema === "public")) {
    if (only !== undefined && fn.name !== `public.${only}`) continue;
    const life = await populateUser(db);
    for (const { name, type } of fn.parameters) {
      if (type !== "text" && type !== "jsonb") continue;
      const args = argumentsAbout(life, fn);
      if (name !== "p_idempotency_key" && fn.parameters.some((it) => it.name === "p_idempotency_key"))
        args["p_idempotency_key"] = randomUUID();
      args[name] = type === "text" ? long : inJson(name, args[name]);
      const { sql, values } = callOf(fn, args);
      const outcome = await asService(db, (client) => client.query(sql, values)).then(
        () => "answers",
        ({ code, message }: { code: string; message: string }) =>
          isSlug(message) && errors[message].sqlstate === code && code.startsWith("PT4")
            ? message
            : `${code} ${message.slice(0, 80)}`,
      );
      answers.push({ asked: `${fn.name.replace("public.", "")} ${name}`, outcome });
    }
  }
  const longest = await longestRow(db);
  await db.drop();
  return { answers, longest };
}

async function longestRow(db: Database): Promise<number> {
  const { rows: tables } = await db.admin.query<{ name: string }>(`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'tokenbook') and c.relkind in ('r', 'p') and not c.relispartition`);
  const { rows } = await db.admin.query(
    `select max(bytes)::int as bytes from (${tables
      .map(({ name }) => `select octet_length(x::text) as bytes from ${name} x`)
      .join(" union all ")}) every`,
  );
  return rows[0].bytes;
}

/** What takes a text of any length and keeps none of it: the rest is cut off. */
const harmless = ["settle_token_webhook p_error"];

test(
  "4,000,000 characters in any text of any function are refused by name, and no row has them",
  { timeout: 120_000 },
  async () => {
    const { answers, longest } = await trial();
    const refused = answers.filter(({ outcome }) => isSlug(outcome));
    console.log(`texts=${answers.length} refused=${refused.length} longest row=${longest} bytes`);
    expect(answers.filter(({ outcome }) => !isSlug(outcome))).toEqual(
      harmless.map((asked) => ({ asked, outcome: "answers" })),
    );
    expect(longest).toBeLessThan(20_000);
  },
);

test("the test sees it: a payment's id of any length", { tags: ["proof"] }, async () => {
  const { answers, longest } = await trial("payment-ids-of-any-length", "change_token_plan");
  expect(answers).toContainEqual({ asked: "change_token_plan p_payment_id", outcome: "answers" });
  expect(longest).toBeGreaterThan(4_000_000);
});

test("a currency has three letters, in any provider's event", async () => {
  const db = await createDatabase();
  const tell = (currency: unknown) =>
    asService(db, (client) =>
      rpc(client, "record_token_payment_event", {
        p_provider: "stripe",
        p_event_id: `evt_${randomUUID()}`,
        p_event_type: "paid",
        p_provider_payment_id: "pi_1",
        p_facts: told({ kind: "paid", amount_cents: 900, currency }),
      }),
    );
  await expect(tell("dollars")).rejects.toMatchObject({ code: "PT400", message: "invalid_provider_event" });
  expect(await tell("USD")).toMatchObject({ success: true });
  expect(await tell(null)).toMatchObject({ success: true });
  await db.drop();
});
