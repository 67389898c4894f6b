/**
 * Stripe's API on this machine, as far as `checkout` and `top-up` ask it, and in its manners: keys that answer for a
 * request that was sent before (failures of Stripe's own among them), refuse other words, and say so while the first
 * is under way; declines as errors that carry their PaymentIntent; unknown parameters, customers and prices refused.
 * And it may be unwell.
 *
 * What it charges is what its cards say (`cards`), and what it took is in `intents`.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** What comes of a charge to a card, by its name. */
export const cards = {
  good: "succeeded",
  empty: "insufficient_funds",
  lost: "lost_card",
  /** The bank wants its owner to confirm. */
  cautious: "authentication_required",
  /** No card: the bank sends its owner to a page of its own. */
  redirecting: "requires_action",
  /** No card: a debit that takes days. */
  slow: "processing",
} as const;

export type Card = keyof typeof cards;

/**
 * How it is unwell: at a request that it never saw (before), or one that it has carried out (after). `slow`: it
 * does not answer, and carries the request out in its own time.
 */
export type Trouble =
  | "slow"
  | "silent before"
  | "silent after"
  | "hangs up after"
  | "500 before"
  | "500 after"
  | "429"
  | "401";

/** Nested, as the brackets of a form say. */
export interface Params {
  [name: string]: string | Params;
}

export interface Asked {
  method: string;
  /** Without the query. */
  path: string;
  params: Params;
  key: string | undefined;
}

type Thing = { id: string; object: string; created: number } & Record<string, unknown>;

export interface Intent extends Thing {
  customer: string;
  amount: number;
  status: string;
  metadata: Record<string, string>;
}

export interface StripeApi {
  settings: { STRIPE_SECRET_KEY: string; STRIPE_API_BASE: string };
  /** Each request so far. */
  asked: Asked[];
  /** Newest first. */
  intents: Intent[];
  sessions: Thing[];
  portals: Thing[];
  /** Credit grants, newest first, and what is left of each. */
  credits: (Thing & { customer: string; left: number })[];
  customers: Map<string, Thing>;
  prices: Map<string, Thing>;
  /** How it is at a request; a function of it, and of how many there were of that method and path before. */
  ail: (asked: Asked, before: number) => Trouble | undefined;
  /** How long it takes where it is slow. */
  slowMs: number;
  /** A customer with that card saved; `isDefault`: and chosen. */
  customer(card?: Card, options?: { isDefault?: boolean }): string;
  /** Saves another card. */
  save(customer: string, card: Card): string;
  price(id: string, amount: number, options?: Record<string, unknown>): void;
  subscribe(customer: string, status: string): void;
  /** A debit has come through, or not. */
  clear(intent: Intent, status: "succeeded" | "requires_payment_method"): void;
  /** What happens to every key after a day. */
  forgetKeys(): void;
  close(): Promise<void>;
}

/** An answer that is kept under its key, or not. */
interface Reply {
  status: number;
  body: unknown;
}

/** Thrown: Stripe refuses. Before anything was begun (the answer is not kept), or as what came of it. */
class Refused extends Error {
  readonly reply: Reply;
  readonly isKept: boolean;

  constructor(status: number, error: Record<string, unknown>, isKept = false) {
    super(String(error["message"] ?? error["code"]));
    this.reply = { status, body: { error: { message: this.message, ...error } } };
    this.isKept = isKept;
  }
}

const invalid = (code: string, param: string | undefined, message = `${code}: ${param}`) =>
  new Refused(400, { type: "invalid_request_error", code, message, ...(param !== undefined && { param }) });

const missing = (kind: string, id: unknown, param: string, status = 400) =>
  new Refused(status, {
    type: "invalid_request_error",
    code: "resource_missing",
    param,
    message: `No such ${kind}: '${String(id)}'`,
  });

/** Starts it, well. */
export async function startStripeApi(): Promise<StripeApi> {
  const secretKey = "rk_of_the_stand_in";
  const customers = new Map<string, Thing>();
  const methods: (Thing & { customer: string; card: Card })[] = [];
  const prices = new Map<string, Thing>();
  const subscriptions: Thing[] = [];
  const intents: Intent[] = [];
  const sessions: Thing[] = [];
  const portals: Thing[] = [];
  const credits: StripeApi["credits"] = [];
  const replies = new Map<string, { words: string; reply: Reply | undefined }>();
  let number = 0;
  const thing = (prefix: string, object: string, rest: Record<string, unknown>): Thing => ({
    id: `${prefix}_${String(++number).padStart(6, "0")}`,
    object,
    created: Math.floor(Date.now() / 1000),
    ...rest,
  });

  const customerNamed = (id: unknown, param = "customer", status = 400): Thing => {
    const found = customers.get(String(id));
    if (found === undefined || found["deleted"] === true) throw missing("customer", id, param, status);
    return found;
  };

  /** A page of a list, newest first. */
  const list = (things: readonly Thing[], params: Params, url: string): Reply => {
    const limit = Number(params["limit"] ?? 10);
    if (!(limit >= 1 && limit <= 100)) throw invalid("parameter_invalid_integer", "limit");
    const from =
      params["starting_after"] === undefined
        ? 0
        : things.findIndex(({ id }) => id === params["starting_after"]) + 1;
    const data = things.slice(from, from + limit);
    return { status: 200, body: { object: "list", url, data, has_more: things.length > from + limit } };
  };

  /** What Stripe answers, as `METHOD /path`. */
  const routes: [RegExp, readonly string[], (params: Params, id: string, path: string) => Reply][] = [
    [
      /^POST \/v1\/customers$/,
      ["metadata", "email", "name"],
      (params) => {
        const made = thing("cus", "customer", {
          metadata: params["metadata"] ?? {},
          email: params["email"] ?? null,
          invoice_settings: { default_payment_method: null },
        });
        customers.set(made.id, made);
        return { status: 200, body: made };
      },
    ],
    [
      /^GET \/v1\/customers\/(\w+)$/,
      [],
      (_, id) => {
        const found = customers.get(id);
        if (found === undefined) throw missing("customer", id, "id", 404);
        return {
          status: 200,
          body: found["deleted"] === true ? { id, object: "customer", deleted: true } : found,
        };
      },
    ],
    [
      /^GET \/v1\/customers\/(\w+)\/payment_methods$/,
      ["limit", "starting_after", "type"],
      (params, id, path) => {
        customerNamed(id, "customer", 404);
        return list(methods.filter(({ customer }) => customer === id).toReversed(), params, path);
      },
    ],
    [
      /^GET \/v1\/prices\/(\w+)$/,
      [],
      (_, id) => {
        const found = prices.get(id);
        if (found === undefined) throw missing("price", id, "price", 404);
        return { status: 200, body: found };
      },
    ],
    [
      /^GET \/v1\/subscriptions$/,
      ["customer", "limit", "starting_after", "status"],
      (params, _, path) => {
        const { id } = customerNamed(params["customer"]);
        const theirs = subscriptions.filter(
          ({ customer, status }) => customer === id && status !== "canceled",
        );
        return list(theirs.toReversed(), params, path);
      },
    ],
    [
      /^POST \/v1\/checkout\/sessions$/,
      [
        "mode",
        "customer",
        "client_reference_id",
        "line_items",
        "metadata",
        "subscription_data",
        "payment_intent_data",
        "success_url",
        "cancel_url",
      ],
      (params) => {
        const { mode } = params;
        customerNamed(params["customer"]);
        const lines = Object.values((params["line_items"] ?? {}) as Params) as Params[];
        if (lines.length === 0) throw invalid("parameter_missing", "line_items");
        for (const [nth, line] of lines.entries()) {
          const price = prices.get(String(line["price"]));
          if (price === undefined) throw missing("price", line["price"], `line_items[${nth}][price]`);
          if (price["active"] !== true) throw invalid("price_inactive", `line_items[${nth}][price]`);
          if ((price["type"] === "recurring") !== (mode === "subscription")) {
            throw invalid("invalid_mode", "mode", `the mode ${String(mode)} does not fit ${price.id}`);
          }
        }
        if (mode !== "subscription" && params["subscription_data"] !== undefined) {
          throw invalid("parameter_unknown", "subscription_data");
        }
        if (mode !== "payment" && params["payment_intent_data"] !== undefined) {
          throw invalid("parameter_unknown", "payment_intent_data");
        }
        for (const name of ["success_url", "cancel_url"]) {
          if (!URL.canParse(String(params[name]))) throw invalid("url_invalid", name);
        }
        const made = thing("cs_test", "checkout.session", { status: "open", payment_status: "unpaid" });
        Object.assign(made, params, { url: `https://checkout.stripe.com/c/pay/${made.id}` });
        sessions.push(made);
        return { status: 200, body: made };
      },
    ],
    [
      /^GET \/v1\/checkout\/sessions\/(\w+)\/line_items$/,
      ["limit", "starting_after"],
      (params, id, path) => {
        const session = sessions.find((it) => it.id === id);
        if (session === undefined) throw missing("checkout.session", id, "session", 404);
        const lines = Object.values(session["line_items"] as Params) as Params[];
        return list(
          lines.map((line) =>
            thing("li", "item", {
              price: prices.get(String(line["price"])),
              quantity: Number(line["quantity"]),
            }),
          ),
          params,
          path,
        );
      },
    ],
    [
      /^POST \/v1\/billing_portal\/sessions$/,
      ["customer", "return_url"],
      (params) => {
        customerNamed(params["customer"]);
        const made = thing("bps", "billing_portal.session", { ...params });
        made["url"] = `https://billing.stripe.com/p/session/${made.id}`;
        portals.push(made);
        return { status: 200, body: made };
      },
    ],
    [
      /^POST \/v1\/payment_intents$/,
      [
        "amount",
        "currency",
        "customer",
        "payment_method",
        "off_session",
        "confirm",
        "automatic_payment_methods",
        "metadata",
      ],
      (params) => charge(params),
    ],
    [
      /^GET \/v1\/payment_intents$/,
      ["customer", "created", "limit", "starting_after"],
      (params, _, path) => {
        // a customer who was deleted has paid all the same
        if (!customers.has(String(params["customer"])))
          throw missing("customer", params["customer"], "customer");
        const since = Number((params["created"] as Params | undefined)?.["gte"] ?? 0);
        const theirs = intents.filter((it) => it.customer === params["customer"] && it.created >= since);
        return list(theirs, params, path);
      },
    ],
    [
      /^GET \/v1\/billing\/credit_grants$/,
      ["limit", "starting_after"],
      (params, _, path) =>
        list(
          credits.map(({ left: _left, ...grant }) => grant as Thing),
          params,
          path,
        ),
    ],
    [
      /^GET \/v1\/billing\/credit_balance_summary$/,
      ["customer", "filter"],
      (params) => {
        const { type, credit_grant } = params["filter"] as Params;
        if (type !== "credit_grant") throw invalid("parameter_unknown", "filter[type]");
        const found = credits.find(({ id }) => id === credit_grant);
        if (found === undefined) throw missing("credit grant", credit_grant, "filter[credit_grant]");
        if (found.customer !== params["customer"])
          throw missing("credit grant", credit_grant, "filter[credit_grant]");
        const money = (value: number) => ({ type: "monetary", monetary: { currency: "usd", value } });
        return {
          status: 200,
          body: {
            object: "billing.credit_balance_summary",
            customer: found.customer,
            balances: [{ available_balance: money(found.left), ledger_balance: money(found.left) }],
          },
        };
      },
    ],
    [/^GET \/v1\/payment_intents\/(\w+)$/, [], (_, id) => ({ status: 200, body: intentNamed(id) })],
    [
      /^POST \/v1\/payment_intents\/(\w+)\/cancel$/,
      ["cancellation_reason"],
      (_, id) => {
        const found = intentNamed(id);
        if (!["requires_payment_method", "requires_action", "requires_confirmation"].includes(found.status)) {
          throw new Refused(
            400,
            {
              type: "invalid_request_error",
              code: "payment_intent_unexpected_state",
              message: `You cannot cancel this PaymentIntent because it has a status of ${found.status}.`,
              payment_intent: { ...found },
            },
            true,
          );
        }
        found.status = "canceled";
        return { status: 200, body: { ...found } };
      },
    ],
  ];

  function intentNamed(id: string): Intent {
    const found = intents.find((it) => it.id === id);
    if (found === undefined) throw missing("payment_intent", id, "intent", 404);
    return found;
  }

  function charge(params: Params): Reply {
    const amount = Number(params["amount"]);
    if (!Number.isInteger(amount) || amount < 50) throw invalid("amount_too_small", "amount");
    const customer = customerNamed(params["customer"]);
    const method = methods.find(({ id }) => id === params["payment_method"]);
    if (method === undefined) throw missing("PaymentMethod", params["payment_method"], "payment_method");
    if (method.customer !== customer.id) throw invalid("payment_method_unexpected_state", "payment_method");
    const automatic = params["automatic_payment_methods"] as Params | undefined;
    if (params["confirm"] === "true" && automatic?.["allow_redirects"] !== "never") {
      throw invalid("parameter_missing", "return_url");
    }
    const intent = thing("pi", "payment_intent", {
      amount,
      amount_received: 0,
      currency: params["currency"],
      customer: customer.id,
      metadata: params["metadata"] ?? {},
      payment_method: method.id,
      last_payment_error: null,
      status: "requires_confirmation",
    }) as Intent;
    intents.unshift(intent);
    if (params["confirm"] !== "true") return { status: 200, body: { ...intent } };
    const outcome = cards[method.card];
    if (outcome === "succeeded" || outcome === "processing" || outcome === "requires_action") {
      intent.status = outcome;
      if (outcome === "succeeded") intent["amount_received"] = amount;
      return { status: 200, body: { ...intent } };
    }
    intent.status = "requires_payment_method";
    const error = {
      type: "card_error",
      code: outcome === "authentication_required" ? outcome : "card_declined",
      decline_code: outcome,
      message: "Your card was declined.",
    };
    intent["last_payment_error"] = error;
    throw new Refused(402, { ...error, payment_intent: { ...intent } }, true);
  }

  /** What is answered when all is well. */
  function perform({ method, path, params }: Asked): { reply: Reply; isKept: boolean } {
    try {
      for (const [pattern, allowed, answer] of routes) {
        const match = pattern.exec(`${method} ${path}`);
        if (match === null) continue;
        const unknown = Object.keys(params).find((name) => !allowed.includes(name));
        if (unknown !== undefined) throw invalid("parameter_unknown", unknown);
        const reply = answer(params, match[1] ?? "", path);
        return { reply: { status: reply.status, body: structuredClone(reply.body) }, isKept: true };
      }
      throw new Refused(404, {
        type: "invalid_request_error",
        message: `Unrecognized request URL (${method}: ${path})`,
      });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { reply: error.reply, isKept: error.isKept };
    }
  }

  const trouble = (status: number, type: string): Reply => ({
    status,
    body: { error: { type, message: `trouble: ${status}` } },
  });

  /** The answer; undefined: none, and `hangUp` whether that is said. */
  function respond(
    asked: Asked,
    ailment: Trouble | undefined,
    authorization: string | undefined,
  ): { reply?: Reply; replayed?: boolean; hangUp?: boolean } {
    if (authorization !== `Bearer ${secretKey}` || ailment === "401") {
      return { reply: trouble(401, "invalid_request_error") };
    }
    if (ailment === "silent before") return {};
    if (ailment === "429") return { reply: trouble(429, "invalid_request_error") };
    const words = JSON.stringify([asked.method, asked.path, asked.params]);
    const kept = asked.method === "POST" && asked.key !== undefined ? replies.get(asked.key) : undefined;
    if (kept !== undefined) {
      if (kept.words !== words) {
        return {
          reply: {
            status: 400,
            body: {
              error: {
                type: "idempotency_error",
                message: "Keys for idempotent requests can only be used with the same parameters.",
              },
            },
          },
        };
      }
      return kept.reply === undefined
        ? {
            reply: {
              status: 409,
              body: { error: { type: "idempotency_error", code: "idempotency_key_in_use" } },
            },
          }
        : { reply: kept.reply, replayed: true };
    }
    if (ailment === "slow") {
      const keep = (reply?: Reply) => asked.key !== undefined && replies.set(asked.key, { words, reply });
      keep();
      setTimeout(() => keep(perform(asked).reply), api.slowMs).unref();
      return {};
    }
    const { reply: good, isKept } =
      ailment === "500 before" ? { reply: trouble(500, "api_error"), isKept: false } : perform(asked);
    const reply = ailment === "500 after" ? trouble(500, "api_error") : good;
    if (isKept && asked.method === "POST" && asked.key !== undefined) {
      replies.set(asked.key, { words, reply });
    }
    if (ailment === "silent after") return {};
    if (ailment === "hangs up after") return { hangUp: true };
    return { reply };
  }

  const server = createServer(async (incoming, outgoing) => {
    const asked = await read(incoming);
    const before = api.asked.filter(
      ({ method, path }) => method === asked.method && path === asked.path,
    ).length;
    api.asked.push(asked);
    const { reply, replayed, hangUp } = respond(
      asked,
      api.ail(asked, before),
      incoming.headers.authorization,
    );
    if (hangUp) return void incoming.socket.destroy();
    if (reply === undefined) return;
    outgoing.writeHead(reply.status, {
      "content-type": "application/json",
      "request-id": `req_${++number}`,
      ...(replayed && { "idempotent-replayed": "true" }),
    });
    outgoing.end(JSON.stringify(reply.body));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));

  const api: StripeApi = {
    settings: {
      STRIPE_SECRET_KEY: secretKey,
      STRIPE_API_BASE: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    },
    asked: [],
    intents,
    sessions,
    portals,
    credits,
    customers,
    prices,
    ail: () => undefined,
    slowMs: 3_000,
    customer(card, { isDefault = false } = {}) {
      const made = thing("cus", "customer", {
        metadata: {},
        invoice_settings: { default_payment_method: null },
      });
      customers.set(made.id, made);
      if (card !== undefined) {
        const method = api.save(made.id, card);
        if (isDefault) made["invoice_settings"] = { default_payment_method: method };
      }
      return made.id;
    },
    save(customer, card) {
      const made = { ...thing("pm", "payment_method", { type: "card" }), customer, card };
      methods.push(made);
      return made.id;
    },
    price(id, amount, options = {}) {
      prices.set(id, {
        id,
        object: "price",
        created: 1,
        active: true,
        unit_amount: amount,
        currency: "usd",
        type: "one_time",
        recurring: options["type"] === "recurring" ? { interval: "month", interval_count: 1 } : null,
        ...options,
      });
    },
    subscribe(customer, status) {
      subscriptions.push(thing("sub", "subscription", { customer, status }));
    },
    clear(intent, status) {
      intent.status = status;
      if (status === "succeeded") intent["amount_received"] = intent.amount;
    },
    forgetKeys: () => replies.clear(),
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
  return api;
}

/** A request as it was sent. */
async function read(incoming: IncomingMessage): Promise<Asked> {
  const { pathname, search } = new URL(incoming.url!, "http://stripe");
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const key = incoming.headers["idempotency-key"];
  return {
    method: incoming.method!,
    path: pathname,
    params: paramsOf(incoming.method === "GET" ? search : Buffer.concat(chunks).toString("utf8")),
    key: typeof key === "string" ? key : undefined,
  };
}

/** A form, nested as its brackets say. */
function paramsOf(form: string): Params {
  const params: Params = {};
  for (const [name, value] of new URLSearchParams(form)) {
    const path = name.split(/\[|\]\[|\]/).filter((part) => part !== "");
    let at = params;
    for (const part of path.slice(0, -1)) at = (at[part] ??= {}) as Params;
    at[path.at(-1)!] = value;
  }
  return params;
}
