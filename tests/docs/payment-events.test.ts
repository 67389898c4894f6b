/** What becomes of providers' events, for people: the cases that the providers' own tests try. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { type EventCase, tableOf } from "../functions/event-outcomes.ts";
import { paypalCases } from "../functions/paypal-webhook/cases.ts";
import { stripeCases } from "../functions/stripe-webhook/cases.ts";

const sections: (readonly [heading: string, cases: readonly EventCase[]])[] = [
  ...Object.entries(stripeCases).map(([heading, cases]) => [`Stripe: ${heading}`, cases] as const),
  ...Object.entries(paypalCases).map(([heading, cases]) => [`PayPal: ${heading}`, cases] as const),
];

/** The sentences for people, from the one place that has them. */
function parkedReasons(): Record<string, string> {
  const sql = readFileSync(
    join(projectRoot, "supabase/schemas/60_payments/tables/parked_reasons.sql"),
    "utf8",
  );
  return JSON.parse(/return '(\{[^]*?\})';/.exec(sql)![1]!.replaceAll("''", "'"));
}

test("the page of payment events shows every case (made anew with -u)", async () => {
  const reasons = parkedReasons();
  const page = [
    "# What becomes of payment events",
    "Each row was sent to the running function, signed, in the shape that the provider documents for that version of its API: `tests/functions/*-webhook/outcomes.test.ts` compares what comes of it with what is said here, and `tests/docs/payment-events.test.ts` makes this page of the same cases. A row is about the last of several events; its story has those before. Tokens are what the buyer has of all of them in the end. A plan is sold for 9.00 and gives 400,000 tokens; a pack gives 50,000.",
    "Events come in any order and any number of times, and end the same: [payments](payments.md). What an event says of a payment, a refund or a dispute counts by the provider's own time of it.",
    ...sections.flatMap(([heading, cases]) => [`## ${heading}`, tableOf(cases)]),
    "## Parked",
    "A payment that was made and that nothing can be given for by itself waits for an admin, who [assigns or dismisses it](payments.md#payments). Why it waits:",
    [
      "| reason | |",
      "|---|---|",
      ...Object.entries(reasons).map(([slug, why]) => `| \`${slug}\` | ${why} |`),
    ].join("\n"),
  ].join("\n\n");

  expect(
    sections
      .flatMap(([, cases]) => cases)
      .filter(({ comes }) => comes.parked !== undefined && !(comes.parked in reasons)),
  ).toEqual([]);
  await expect(`${page}\n`).toMatchFileSnapshot(join(projectRoot, "docs/guides/payment-events.md"));
});
