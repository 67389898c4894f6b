/** What becomes of providers' events, for people: the cases that the providers' table tests try. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { tableOf } from "../functions/event-outcomes.ts";
import { stripeCases } from "../functions/stripe-webhook/cases.ts";

const providers = { Stripe: stripeCases };

test("the page of payment events shows every case (made anew with -u)", async () => {
  const page = [
    "# What becomes of payment events",
    "Each row was sent to the running function, signed, in the shape that the provider documents for that API version: `tests/functions/*-webhook/outcomes.test.ts` compares what comes of it with what is said here. The row is about the last of several events; the ones before it are in the story. Tokens are what the buyer has of it in the end. A plan is sold for 9.00 and gives 400,000 tokens, a pack gives 50,000. The page is made from the cases by `tests/docs/payment-events.test.ts`.",
    "Events come in any order and any number of times. That changes nothing: [payments](payments.md) says how.",
    ...Object.entries(providers).flatMap(([provider, groups]) => [
      `## ${provider}`,
      ...Object.entries(groups).flatMap(([heading, cases]) => [`### ${heading}`, tableOf(cases)]),
    ]),
  ].join("\n\n");

  await expect(`${page}\n`).toMatchFileSnapshot(join(projectRoot, "docs/guides/payment-events.md"));
});
