/**
 * What becomes of a payment provider's events. Each case is told once: the provider's table test sends its events
 * to the running function and compares, and docs/guides/payment-events.md shows the same cases to people.
 */
import type { Slug } from "../../supabase/functions/_shared/errors.ts";
import type { ParkedReason, SubscriptionFacts } from "../../supabase/functions/_shared/facts.ts";
import type { Database } from "../support/database.ts";
import { expectProblem } from "./problem.ts";
import type { Answer, Stack } from "./stack.ts";

/** One row of the table. */
export interface EventCase {
  /** The API version that the event is written in, as the provider calls it. */
  version: string;
  /** Its type at the provider. */
  type: string;
  /** What happened, in words. */
  story: string;
  /** The events in the order in which they are sent. The row is about the last one; the others lead up to it. */
  events: (them: Buyer) => object[];
  comes: Outcome;
  /** What it comes to when it is told backwards, where what was booked before stays. Left out: the same. */
  backwards?: Pick<Outcome, "tokens" | "parked" | "subscription">;
}

/** The user of a case: another in each. */
export interface Buyer {
  /** Their id with us. */
  userId: string;
  /** An id of the provider's that this case has for itself, the same each time it is asked for: `id("pi")`. */
  id: (name: string) => string;
}

/** What the last event is answered with, and how things stand after it. */
export interface Outcome {
  /** The state of each payment and subscription that it speaks of, in its order. Left out: none. */
  outcomes?: string[];
  /** Why it changes nothing, as the answer says it. */
  note?: string;
  /** The error that it is refused with. */
  refused?: Slug;
  /** Tokens that the buyer has now and would not have without these events. Left out: 0. */
  tokens?: number;
  /** Why the payment waits for an admin. */
  parked?: ParkedReason;
  /** How the subscription stands. */
  subscription?: SubscriptionFacts["status"];
}

/** An outcome as the table shows it. */
export function inWords({ note, refused, tokens = 0, parked, subscription }: Outcome): string {
  return [
    ...(refused === undefined ? [] : [`refused: [\`${refused}\`](../errors.md#${refused})`]),
    ...(parked === undefined ? [] : [`parked: [\`${parked}\`](#parked)`]),
    ...(subscription === undefined ? [] : [`the subscription is ${subscription.replace("_", " ")}`]),
    ...(note === undefined ? [] : [note]),
    ...(tokens === 0 && (refused ?? parked ?? subscription ?? note) !== undefined
      ? []
      : [`${tokens.toLocaleString("en")} tokens`]),
  ].join("; ");
}

/** The table of one provider. */
export function tableOf(cases: readonly EventCase[]): string {
  return [
    "| event | version | what happened | what comes of it |",
    "|---|---|---|---|",
    ...cases.map((it) => `| \`${it.type}\` | ${it.version} | ${it.story} | ${inWords(it.comes)} |`),
  ].join("\n");
}

/** How things stand with the buyer and with these payments and subscriptions of the provider, but for the answer. */
export async function standing(
  db: Database,
  { userId, ids, before }: { userId: string; ids: readonly string[]; before: number },
): Promise<Pick<Outcome, "tokens" | "parked" | "subscription">> {
  const { rows } = await db.admin.query<{ tokens: number; parked: ParkedReason; subscription: string }>(
    `select coalesce((select a.tokens_remaining - a.tokens_owed from public.token_accounts a where a.user_id = $1), 0)::int - $3::int as tokens,
            (select f.parked_reason from tokenbook.provider_payments f
              where f.provider_payment_id = any ($2) and f.parked_reason is not null limit 1) as parked,
            (select s.status from tokenbook.provider_subscriptions s
              where s.provider_subscription_id = any ($2) limit 1) as subscription`,
    [userId, ids, before],
  );
  const { tokens, parked, subscription } = rows[0]!;
  return {
    ...(tokens !== 0 && { tokens }),
    ...(parked !== null && { parked }),
    ...(subscription !== null && { subscription: subscription as SubscriptionFacts["status"] }),
  };
}

/** How a provider's events are sent in tests. */
export interface Sender<Case extends EventCase> {
  deliver: (stack: Stack, event: object) => Promise<Answer>;
  /** An id that nobody else has. */
  fresh: (prefix: string) => string;
  /** Makes the provider's API ready for the case. */
  prepare: (it: Case, them: Buyer) => void;
}

/** Sends a case's events, about somebody whom no other case is about: every answer, and how things stand then. */
export async function told<Case extends EventCase>(
  stack: Stack,
  it: Case,
  { deliver, fresh, prepare }: Sender<Case>,
  order = (events: object[]) => events,
): Promise<{ answers: Answer[]; stands: Awaited<ReturnType<typeof standing>> }> {
  const ids = new Map<string, string>();
  const them: Buyer = {
    userId: (await stack.user()).id,
    id(name) {
      if (!ids.has(name)) ids.set(name, fresh(name));
      return ids.get(name)!;
    },
  };
  prepare(it, them);
  const before = (await standing(stack.db, { userId: them.userId, ids: [], before: 0 })).tokens ?? 0;
  const answers: Answer[] = [];
  for (const event of order(it.events(them))) answers.push(await deliver(stack, event));
  const stands = await standing(stack.db, { userId: them.userId, ids: [...ids.values()], before });
  return { answers, stands };
}

/** How the last event of a case is answered, and how things stand then. */
export async function tried<Case extends EventCase>(
  stack: Stack,
  it: Case,
  sender: Sender<Case>,
): Promise<Outcome> {
  const { answers, stands } = await told(stack, it, sender);
  const { status, body } = answers.at(-1)!;
  if (status !== 200) {
    expectProblem(answers.at(-1)!, body.code);
    return { refused: body.code, ...stands };
  }
  const { outcomes, note } = body as Outcome;
  return { ...(outcomes!.length > 0 && { outcomes }), ...(note !== undefined && { note }), ...stands };
}
