/** What tests of top-ups that charge share: users who have run short, runs, and what came of it. */
import { deduct } from "../../alerts/alerts.ts";
import { grant } from "../../support/books.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { type Fault, type Stack, startStack } from "../stack.ts";
import type { Card, StripeApi } from "../stripe-api.ts";
import { secret } from "../stripe-webhook/stripe.ts";

/** A function that waits no longer for Stripe than a test does. */
export const impatient: Fault = {
  file: "top-up/index.ts",
  right: "const patience = { timeout: 30_000, maxNetworkRetries: 0 };",
  wrong: "const patience = { timeout: 800, maxNetworkRetries: 0 };",
};

/** Dies after it has charged, at the first attempt, before the books know. */
export const diesAfterCharging: Fault = {
  file: "top-up/index.ts",
  right: "return { status: await settle(supabaseAdmin, request, await charge(api, request)) };",
  wrong: `const outcome = await charge(api, request);
          if (request.attempt === 1) Deno.exit(1);
          return { status: await settle(supabaseAdmin, request, outcome) };`,
};

/** Dies between the two things that it says to the books. */
export const diesBetween: Fault = {
  file: "top-up/index.ts",
  right: 'if (outcome.kind === "paid") await record(server, request, outcome);',
  wrong: `if (outcome.kind === "paid") {
    await record(server, request, outcome);
    if (request.attempt === 1) Deno.exit(1);
  }`,
};

/** Says done before the payment is in the books, and dies. */
export const settlesFirst: Fault = {
  file: "top-up/index.ts",
  right: 'if (outcome.kind === "paid") await record(server, request, outcome);',
  wrong: `if (outcome.kind === "paid") {
    await callSql(server, "settle_token_top_up", {
      p_user_id: request.user_id, p_request_id: request.request_id, p_outcome: "done",
    });
    Deno.exit(1);
  }`,
};

/** Says done before it has charged, and dies. */
export const settlesUnasked: Fault = {
  file: "top-up/index.ts",
  right: "return { status: await settle(supabaseAdmin, request, await charge(api, request)) };",
  wrong: `await callSql(supabaseAdmin, "settle_token_top_up", {
            p_user_id: request.user_id, p_request_id: request.request_id, p_outcome: "done",
          });
          if (request.attempt === 1) Deno.exit(1);
          return { status: await settle(supabaseAdmin, request, await charge(api, request)) };`,
};

/** Asks without the request's key. */
export const keyless: Fault = {
  file: "top-up/charge.ts",
  right: "{ idempotencyKey: `tokenbook-top-up-${request.request_id}` },",
  wrong: "{},",
};

/** Asks again under its key without looking whether the payment is there. */
export const doesNotLook: Fault = {
  file: "top-up/charge.ts",
  right: "request.attempt > 1 ? await madeBefore(api, request) : undefined",
  wrong: "undefined as Stripe.PaymentIntent | undefined",
};

/** A pack of 1,000 tokens for 5.00. */
export const pack = { pack_type: "small", tokens: 1_000, price_cents: 500 };

export async function startTopUps(api: StripeApi, ...faults: Fault[]): Promise<Stack> {
  const stack = await startStack({ ...api.settings, STRIPE_WEBHOOK_SECRET: secret }, [impatient, ...faults]);
  await setPack(stack, {});
  return stack;
}

/** Sells the pack otherwise. */
export const setPack = (stack: Stack, parts: Record<string, unknown>): Promise<unknown> =>
  asService(stack.db, (client) =>
    rpc(client, "set_token_pack", {
      p_pack_type: pack.pack_type,
      p_pack: { name: "Small", tokens: pack.tokens, price_cents: pack.price_cents, ...parts },
      p_reason: "a test",
    }),
  );

export interface Topped {
  user: string;
  request: string;
  /** Undefined: none is known. */
  customer: string | undefined;
}

/** Somebody who has 40 tokens left, and wants a pack when there are fewer than 50. */
export async function runShort(
  stack: Stack,
  api: StripeApi,
  card: Card | "none" | "no customer" = "good",
  what: Record<string, unknown> = { p_pack_type: pack.pack_type },
): Promise<Topped> {
  const user = await createUser(stack.db);
  await grant(stack.db, user, 100);
  let customer: string | undefined;
  if (card !== "no customer") {
    customer = api.customer(card === "none" ? undefined : card);
    await asService(stack.db, (client) =>
      rpc(client, "set_token_customer", {
        p_user_id: user,
        p_provider: "stripe",
        p_customer_id: customer,
      }),
    );
  }
  await asService(stack.db, (client) =>
    rpc(client, "set_token_top_up", { p_user_id: user, p_below_tokens: 50, ...what }),
  );
  await deduct(stack.db, user, 60);
  const { rows } = await stack.db.admin.query<{ id: string }>(
    "select id from public.token_top_up_requests where user_id = $1 and status = 'pending'",
    [user],
  );
  return { user, request: rows[0]!.id, customer };
}

export const run = (stack: Stack) => stack.ask("top-up", { method: "POST", caller: stack.server });

/** Lets every lease be over. */
export const later = (stack: Stack) =>
  stack.db.admin.query(
    "update public.token_top_up_requests set next_attempt_at = clock_timestamp() where status = 'pending'",
  );

/** Lets so long pass since each request was first tried. */
export const agesAfter = (stack: Stack, interval: string) =>
  stack.db.admin.query(
    `update public.token_top_up_requests set first_attempt_at = first_attempt_at - $1::interval, next_attempt_at = clock_timestamp()
      where status = 'pending' and attempts > 0`,
    [interval],
  );

/** How a request stands, and what its user has. */
export async function standing(stack: Stack, { user, request }: Topped) {
  const { rows } = await stack.db.admin.query(
    `select r.status, r.reason, r.attempts, a.tokens_remaining::int as tokens,
            (select count(*)::int from public.token_payments p where p.user_id = r.user_id) as payments,
            (select t.paused_at is not null from public.token_top_ups t where t.user_id = r.user_id) as is_paused
       from public.token_top_up_requests r
       join public.token_accounts a on a.user_id = r.user_id
      where r.user_id = $1 and r.id = $2`,
    [user, request],
  );
  return rows[0] as {
    status: string;
    reason: string | null;
    attempts: number;
    tokens: number;
    payments: number;
    is_paused: boolean;
  };
}

/** The payments at Stripe that are of that request. */
export const intentsOf = (api: StripeApi, { request }: Topped) =>
  api.intents.filter(({ metadata }) => metadata["top_up_request_id"] === request);

/**
 * Every request for which money and tokens are not in step, in words: paid more than once, paid and not given, given
 * and not paid, or failed while a payment could still take money.
 */
export async function outOfStep(stack: Stack, api: StripeApi, all: readonly Topped[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const one of all) {
    const intents = intentsOf(api, one);
    const paid = intents.filter(({ status }) => status === "succeeded").length;
    const now = await standing(stack, one);
    const given = Math.round((now.tokens - 40) / pack.tokens);
    const is = `${now.status}, paid ${paid} times, given ${given}`;
    if (
      paid > 1 ||
      given !== paid ||
      (now.status !== "pending" && (now.status === "done") !== (paid === 1))
    ) {
      wrong.push(is);
    }
    if (now.status === "failed" && intents.some(({ status }) => status !== "canceled")) {
      wrong.push(`${is}, and could still be paid`);
    }
  }
  return wrong;
}
