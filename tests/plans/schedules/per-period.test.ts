/** `tokens_per_period`: what all slots of a period give together, where that can be known. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asService, rpc } from "../../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

/** Makes a plan of every kind, and counts the slots of its periods that begin then and then. */
async function wrong(of: Database): Promise<{ plans: number; known: number; wrong: string[] }> {
  const plans: { name: string; fields: Record<string, unknown> }[] = [];
  for (const billing_cycle of ["none", "28day", "monthly", "annual"])
    for (const issue_every of [null, "day", "week", "month"])
      for (const issue_on of ["anniversary", "calendar"])
        for (const refill_to of issue_every === null ? [null] : [null, 500]) {
          if (issue_every === "month" && !["none", "annual"].includes(billing_cycle)) continue;
          plans.push({
            name: `p${plans.length}`,
            fields: { tokens: 7, billing_cycle, issue_every, issue_on, refill_to },
          });
        }
  const found: string[] = [];
  let known = 0;
  for (const { name, fields } of plans) {
    const { plan } = await asService(of, (client) =>
      rpc(client, "set_token_plan", { p_plan_type: name, p_plan: { name, ...fields }, p_reason: "a test" }),
    );
    // every hour of four years, for what a period that begins then gives by its slots
    const { rows } = await of.admin.query<{ gives: string[] | null }>(
      `select array_agg(distinct case when p.issue_every is null then p.tokens
                else p.tokens * (1 + tokenbook.slot_number(tokenbook.plan_schedule(p), at, tokenbook.period_end(p, at) - interval '1 microsecond')) end) as gives
         from public.token_plans p
        cross join generate_series('2027-01-01T00:00Z'::timestamptz, '2030-12-31T00:00Z', '13 hours') at
        where p.plan_type = $1`,
      [name],
    );
    const gives = rows[0]!.gives!.map((one) => (one === null ? null : Number(one)));
    const isKnown = gives.length === 1 && gives[0] !== null && fields["refill_to"] === null;
    if (isKnown) known++;
    if (plan.tokens_per_period !== (isKnown ? gives[0] : null))
      found.push(`${JSON.stringify(fields)}: ${plan.tokens_per_period}, by its slots ${gives}`);
  }
  return { plans: plans.length, known, wrong: found };
}

test("a plan says what a whole period gives, and nothing where periods differ", async () => {
  const came = await wrong(db);
  console.log(`plans=${came.plans} known=${came.known} wrong=${came.wrong.length}`);
  expect(came.wrong).toEqual([]);
  expect(came.known).toBeGreaterThan(10);
});

test("it is made from the other fields, and cannot be set", async () => {
  await expect(
    asService(db, (client) =>
      rpc(client, "set_token_plan", {
        p_plan_type: "p0",
        p_plan: { tokens_per_period: 5 },
        p_reason: "a test",
      }),
    ),
  ).rejects.toMatchObject({ message: "invalid_plan", detail: expect.stringContaining("tokens_per_period") });
  const changed = await asService(db, (client) =>
    rpc(client, "set_token_plan", { p_plan_type: "p0", p_plan: { tokens: 9 }, p_reason: "a test" }),
  );
  expect(changed).toMatchObject({ changed: ["tokens"], plan: { tokens: 9, tokens_per_period: 9 } });
});

test("the test sees it: a period that is said to give one slot", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  try {
    await applyMutant(broken, "periods-give-one-slot");
    expect((await wrong(broken)).wrong.length).toBeGreaterThan(0);
  } finally {
    await broken.drop();
  }
});
