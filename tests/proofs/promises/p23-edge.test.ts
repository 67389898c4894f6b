// @module-tag proof
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type Callers, everyCaller } from "../../functions/callers.ts";
import * as paypal from "../../functions/paypal-webhook/paypal.ts";
import { problemFaults } from "../../functions/problem.ts";
import { type Answer, type Fault, type Question, type Stack, startStack } from "../../functions/stack.ts";
import { setEndpoint } from "../../functions/deliver-webhooks/webhooks.ts";
import { startStandIn } from "../../functions/stand-in.ts";
import { startStripeApi } from "../../functions/stripe-api.ts";
import * as stripe from "../../functions/stripe-webhook/stripe.ts";
import { grant } from "../../support/books.ts";
import { Dice } from "../../support/dice.ts";
import { keep, type Scale, type Tried } from "./promise.ts";
import { projectRoot } from "../../../scripts/project.ts";

/** The callers that a function lets in, and a body that it accepts from them. A function that is not here fails the trial. */
interface Access {
  methods: readonly ("GET" | "POST")[];
  /** `operator`: an admin or the server. `signature`: a sender who has signed the body. */
  for: "anyone" | "user" | "user or server" | "operator" | "server" | "signature";
  body?: (target: string) => unknown;
  query?: string;
}

/** Where users may be sent back to. */
const origin = "https://app.example.com";

const access: Record<string, Access> = {
  "admin-adjust": { methods: ["POST"], for: "operator", body: (userId) => ({ userId, delta: 1 }) },
  grant: { methods: ["POST"], for: "operator", body: (userId) => ({ userId, tokens: 1 }) },
  balance: { methods: ["GET"], for: "user or server" },
  plans: { methods: ["GET"], for: "anyone" },
  payments: {
    methods: ["GET", "POST"],
    for: "user or server",
    body: (userId) => ({
      action: "create",
      planType: "starter",
      userId,
    }),
  },
  checkout: {
    methods: ["POST"],
    for: "user or server",
    body: (userId) => ({ action: "portal", returnUrl: `${origin}/account`, userId }),
  },
  "ai-chat": {
    methods: ["POST"],
    for: "user",
    body: () => ({
      model: "m",
      messages: [
        {
          role: "user",
          content: "hello",
        },
      ],
      max_tokens: 5,
    }),
  },
  "stripe-webhook": { methods: ["POST"], for: "signature", body: () => ({ id: "evt_1" }) },
  "paypal-webhook": { methods: ["POST"], for: "signature", body: () => ({ id: "WH-1" }) },
  "deliver-webhooks": { methods: ["POST"], for: "server", body: () => ({}) },
  "top-up": { methods: ["POST"], for: "server", body: () => ({}) },
};

const everyMethod = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

const echo: Fault = {
  file: "_shared/endpoint.ts",
  right: "return problem(refusal, requestId);",
  wrong: `if (error instanceof Refusal) return problem(refusal, requestId);
      return Response.json({ error: (error as Error).message }, { status: 500 });`,
};

keep({
  id: "P23",
  promise: "The edge functions let nobody in but who may, and tell nothing of their insides",
  trial:
    "Every edge function with every method, every caller (forged tokens, other projects' tokens and keys, the anon key, no key) and every kind of body; webhooks that nobody has signed just so; preflights; bodies beyond the limit; and each function while the database fails. Who may not gets 401, 403 or 400, every refusal is a well-formed problem, and no secret is in an answer or in the log",
  run: (scale) => tryIt(scale, null),
  control: {
    // one that believes forged events is a control of tests/functions/stripe-webhook/signatures.test.ts
    variant: "answers with the error's message",
    run: async () => {
      const told = await tryIt("trouble", echo);
      const insides = told.examples!.filter((it) => /insides|no registered error/.test(it));
      return { ...told, violations: insides.length, examples: insides };
    },
  },
});

/** What is nobody's business, and would be found in an answer or the log. */
const planted = {
  STRIPE_WEBHOOK_SECRET: stripe.secret,
  AI_API_KEY: "sk-planted-key-of-the-provider",
  TOKEN_WEBHOOK_SECRET_APP: `whsec_${Buffer.from("planted secret of the app's webhook").toString("base64")}`,
  APP_DATABASE_URL: "postgresql://postgres:planted-password@db.example.com:5432/postgres",
};

class Trial {
  times = 0;
  readonly mix: Record<string, number> = {};
  readonly wrong: string[] = [];
  private readonly stack: Stack;
  private readonly secrets: readonly string[];

  constructor(stack: Stack, secrets: readonly string[]) {
    this.stack = stack;
    this.secrets = secrets;
  }

  /** Asks, and looks at what must be so of any answer. */
  async ask(what: string, name: string, question: Question): Promise<Answer> {
    const answer = await this.stack.ask(name, question);
    this.times++;
    const outcome = answer.status < 400 ? String(answer.status) : (answer.body?.code ?? answer.status);
    this.mix[outcome] = (this.mix[outcome] ?? 0) + 1;
    if (answer.status >= 400 && question.method !== "HEAD") {
      this.wrong.push(...problemFaults(answer).map((fault) => `${name}, ${what}: ${fault}`));
    }
    const said = `${answer.text}\n${[...answer.headers].join("\n")}`;
    for (const secret of this.secrets) {
      if (said.includes(secret)) this.wrong.push(`${name}, ${what}: a secret is in the answer`);
    }
    return answer;
  }

  must(what: string, found: unknown, expected: unknown): void {
    if (found !== expected) this.wrong.push(`${what}: ${String(found)}, not ${String(expected)}`);
  }

  tried(): Tried {
    const { times, mix, wrong } = this;
    return {
      times,
      unit: "requests",
      mix,
      violations: wrong.length,
      examples: [...new Set(wrong)].slice(0, 40),
    };
  }
}

/** @param scale `trouble` asks the functions only while the database fails: there a message would be told. */
async function tryIt(scale: Scale | "trouble", fault: Fault | null): Promise<Tried> {
  // Somebody else's API for all of them: PayPal that verifies, a provider that has no model.
  const [payments, pages, elsewhere] = [
    await paypal.startPaypal(),
    await startStripeApi(),
    await startStandIn(() => ({ status: 400, body: {} })),
  ];
  const settings: Record<string, string> = {
    ...planted,
    ...payments.settings,
    ...pages.settings,
    CHECKOUT_ORIGINS: origin,
    AI_BASE_URL: elsewhere.url,
  };
  const stack = await startStack(settings, fault ?? undefined);
  try {
    const target = (await stack.user()).id;
    await grant(stack.db, target, 1_000);
    await setEndpoint(stack.db, "app", elsewhere.url);
    const callers = await everyCaller(stack, target);
    const secrets = [
      stack.keys.secretKey,
      settings["PAYPAL_CLIENT_SECRET"]!,
      settings["STRIPE_SECRET_KEY"]!,
      ...Object.values(planted),
      ...Object.values(callers).flatMap(({ headers }) => signatureOf(headers["authorization"])),
      insides,
    ];
    const trial = new Trial(stack, secrets);
    const names = edgeFunctions();
    for (const name of names) if (!access[name]) trial.wrong.push(`${name} is not declared`);
    const declared = names.filter((name) => access[name] !== undefined);

    if (scale !== "trouble") {
      await tryGrid(trial, declared, callers, stack, target, scale);
      await tryForgeries(trial, target);
      for (const name of declared) await tryLimitsAndPreflight(trial, name, stack, callers);
    }
    await tryTrouble(trial, declared, stack, callers, target);

    const log = stack.log.join("\n");
    for (const secret of secrets) {
      if (secret !== insides && log.includes(secret)) trial.wrong.push("a secret is in the log");
    }
    trial.mix["edge functions"] = declared.length;
    trial.mix["callers"] = Object.keys(callers).length;
    return trial.tried();
  } finally {
    await stack.close();
    await payments.close();
    await pages.close();
    await elsewhere.close();
  }
}

function edgeFunctions(): string[] {
  return readdirSync(join(projectRoot, "supabase/functions"), { withFileTypes: true })
    .filter((it) => it.isDirectory() && it.name !== "_shared")
    .map(({ name }) => name);
}

/** The part of a token that makes it one. */
function signatureOf(authorization: string | undefined): string[] {
  const signature = authorization?.split(".")[2] ?? "";
  return signature.length > 20 ? [signature] : [];
}

type Body = { what: string; body: unknown; type?: string };

/** Every method, caller and body; of a short trial every function, method and caller with some of the bodies. */
async function tryGrid(
  trial: Trial,
  names: string[],
  callers: Callers,
  stack: Stack,
  target: string,
  scale: Scale,
): Promise<void> {
  const cells = names.flatMap((name) =>
    everyMethod.flatMap((method) =>
      Object.keys(callers).flatMap((who) =>
        bodiesFor(name, method, target).map((body) => ({ name, method, who, body })),
      ),
    ),
  );
  const dice = new Dice(23);
  const chosen = scale === "long" ? cells : cells.filter(() => dice.chance(0.06));
  const lanes = Array.from({ length: 4 }, async (_, lane) => {
    for (let nth = lane; nth < chosen.length; nth += 4) {
      const { name, method, who, body } = chosen[nth]!;
      const caller = callers[who]!;
      const answer = await trial.ask(`${method} by ${who}, ${body.what}`, name, {
        method,
        caller,
        ...(body.body !== undefined && { body: body.body }),
        ...(body.type !== undefined && { headers: { "content-type": body.type } }),
      });
      const due = dueTo(access[name]!, method, caller, stack);
      if (due === "let in") {
        if (answer.status === 401 || answer.status >= 500) {
          trial.wrong.push(`${name}, ${method} by ${who}, ${body.what}: ${answer.status}, and it may`);
        }
      } else {
        const found = method === "HEAD" ? answer.status : (answer.body?.code ?? answer.status);
        trial.must(`${name}, ${method} by ${who}, ${body.what}`, found, due);
      }
      if (answer.status === 405) {
        trial.must(
          `${name}: Allow`,
          answer.headers.get("allow"),
          [...access[name]!.methods, "OPTIONS"].join(", "),
        );
      }
    }
  });
  await Promise.all(lanes);
}

function bodiesFor(name: string, method: string, target: string): Body[] {
  const { methods, body } = access[name]!;
  if (method === "GET" || method === "HEAD") return [{ what: "no body", body: undefined }];
  const good = { what: "a good body", body: body?.(target) ?? {} };
  if (!methods.some((it) => it === method)) return [good];
  return [
    good,
    { what: "an empty object", body: {} },
    { what: "a stranger's field", body: { ...(good.body as object), role: "admin", actorId: target } },
    { what: "no JSON", body: "userId=1" },
    { what: "no body", body: "" },
    { what: "another type", body: JSON.stringify(good.body), type: "text/plain" },
  ];
}

/** What a caller is due, from the promises alone. */
function dueTo(
  { methods, for: whom }: Access,
  method: string,
  { kind, headers }: Callers[string],
  stack: Stack,
): string | number {
  if (method === "OPTIONS") return 204;
  if (!methods.some((it) => it === method)) return method === "HEAD" ? 405 : "method_not_allowed";
  switch (whom) {
    case "anyone":
      return "let in";
    case "signature":
      return "invalid_signature";
    case "server":
      // a caller with the secret key is the server, whatever else it sends
      return headers["apikey"] === stack.keys.secretKey ? "let in" : "not_authenticated";
    case "user":
      return kind === "unknown" || kind === "server" ? "not_authenticated" : "let in";
    case "user or server":
      return kind === "unknown" ? "not_authenticated" : "let in";
    case "operator":
      if (kind === "unknown") return "not_authenticated";
      return kind === "user" ? "forbidden" : "let in"; // a former admin is refused by SQL
  }
}

async function tryForgeries(trial: Trial, target: string): Promise<void> {
  const bought = stripe.session(target, stripe.fresh("pi"), stripe.lineItems("price_of_nothing"));
  const event = JSON.stringify(stripe.event("checkout.session.completed", bought), null, 2);
  const captured = JSON.stringify(paypal.capture(paypal.fresh(), `${target}:starter`));
  const attempts: [name: string, what: string, payload: string, headers: Record<string, string>][] = [
    ...Object.entries(await stripe.forgeries(event, target)).map(
      ([what, [payload, header]]): [string, string, string, Record<string, string>] => [
        "stripe-webhook",
        what,
        payload,
        header === undefined ? {} : { "stripe-signature": header },
      ],
    ),
    ...Object.entries(paypal.forgeries(captured, target)).map(
      ([what, [payload, headers]]): [string, string, string, Record<string, string>] => [
        "paypal-webhook",
        what,
        payload,
        headers,
      ],
    ),
  ];
  for (const [name, what, body, headers] of attempts) {
    const answer = await trial.ask(what, name, { method: "POST", body, headers });
    if (answer.body?.code !== "invalid_signature") {
      trial.wrong.push(`${name}: a forgery is accepted (${what}): HTTP ${answer.status}`);
    }
  }
  trial.mix["forged signatures"] = attempts.length;
  // and what is signed is taken: a function that refuses everything would pass otherwise
  const signed = await trial.ask("signed", "stripe-webhook", {
    body: event,
    headers: { "stripe-signature": await stripe.signature(event) },
  });
  trial.must("stripe-webhook, signed", signed.status, 200);
  const sent = await trial.ask("signed", "paypal-webhook", {
    body: captured,
    headers: paypal.transmission(captured),
  });
  trial.must("paypal-webhook, signed", sent.status, 200);
}

/** What supabase-js sends, with traces too, and what we read. */
const clientHeaders =
  "authorization apikey x-client-info content-type x-retry-count traceparent tracestate baggage idempotency-key".split(
    " ",
  );

async function tryLimitsAndPreflight(
  trial: Trial,
  name: string,
  stack: Stack,
  callers: Callers,
): Promise<void> {
  const { methods } = access[name]!;
  const preflight = await trial.ask("preflight", name, {
    method: "OPTIONS",
    headers: {
      origin: "https://evil.example.com",
      "access-control-request-method": methods[0]!,
      "access-control-request-headers": clientHeaders.join(", "),
    },
  });
  trial.must(`${name}, preflight`, preflight.status, 204);
  trial.must(`${name}, preflight`, preflight.headers.get("access-control-allow-origin"), "*");
  trial.must(
    `${name}, preflight`,
    preflight.headers.get("access-control-allow-methods"),
    [...methods, "OPTIONS"].join(", "),
  );
  const allowed = preflight.headers.get("access-control-allow-headers")?.split(/, */) ?? [];
  const missing = clientHeaders.filter((header) => !allowed.includes(header));
  trial.must(`${name}, preflight without`, missing.join(), "");
  // any origin may ask, and so none may send cookies
  trial.must(`${name}, preflight`, preflight.headers.get("access-control-allow-credentials"), null);
  for (const method of everyMethod) {
    if (method === "OPTIONS" || methods.some((it) => it === method)) continue;
    for (const who of ["nobody", "an admin", "the server"]) {
      const answer = await trial.ask(`${method} by ${who}`, name, { method, caller: callers[who]! });
      trial.must(`${name}, ${method} by ${who}`, answer.status, 405);
    }
  }
  if (!methods.includes("POST")) return;
  for (const who of ["nobody", "a user", "the server"]) {
    const caller = callers[who]!;
    const body = JSON.stringify({ reason: "x".repeat(600_000) });
    const large = await trial.ask(`600 KB by ${who}`, name, { body, caller });
    trial.must(`${name}, 600 KB by ${who}`, large.body?.code, "payload_too_large");
  }
  // without a length, and with one that is a lie
  const chunked = await fetch(`${stack.url}/functions/v1/${name}`, {
    method: "POST",
    headers: { ...callers["a user"]!.headers, "content-type": "application/json" },
    body: new Blob([JSON.stringify({ reason: "x".repeat(600_000) })]).stream(),
    duplex: "half",
  } as RequestInit);
  trial.times++;
  trial.must(`${name}, 600 KB in pieces`, chunked.status, 413);
  await chunked.body?.cancel();
}

/** What the database says when it fails here, and nobody may hear. */
const insides = "planted-insides at tokenbook.books, host db.example.com";

/** Each function is called by a caller with the right while whatever it needs of the database fails. */
async function tryTrouble(
  trial: Trial,
  names: string[],
  stack: Stack,
  callers: Callers,
  target: string,
): Promise<void> {
  const { rows } = await stack.db.admin.query<{ definition: string }>(
    `select pg_get_functiondef(p.oid) as definition from pg_catalog.pg_proc p
      where p.pronamespace = 'public'::regnamespace and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')`,
  );
  for (const { definition } of rows) {
    const head = definition.slice(0, definition.indexOf("AS $function$"));
    const raise = `raise exception '${insides}' using errcode = 'XX000', detail = '${insides}', hint = '${insides}'`;
    await stack.db.admin.query(`${head} AS $$ begin ${raise}; end $$`);
  }
  await stack.db.admin.query(`alter table public.token_plans rename to token_plans_elsewhere`);
  const event = JSON.stringify(
    stripe.event(
      "checkout.session.completed",
      stripe.session(target, stripe.fresh("pi"), stripe.lineItems("price_of_nothing")),
    ),
  );
  const captured = JSON.stringify(paypal.capture(paypal.fresh(), `${target}:starter`));
  for (const name of names) {
    const { methods, body, for: whom } = access[name]!;
    const caller = callers[whom === "user" ? "a user" : "the server"]!;
    for (const method of methods) {
      const question: Question =
        method === "GET"
          ? { method, caller, query: whom === "anyone" ? "" : `userId=${target}` }
          : { method, caller, body: body!(target) };
      if (name === "stripe-webhook") {
        Object.assign(question, {
          body: event,
          headers: { "stripe-signature": await stripe.signature(event) },
        });
      }
      if (name === "paypal-webhook") {
        Object.assign(question, { body: captured, headers: paypal.transmission(captured) });
      }
      const answer = await trial.ask(`${method} while the database fails`, name, question);
      if (answer.status < 500)
        trial.wrong.push(`${name}, ${method} while the database fails: ${answer.status}`);
      if (answer.text.includes(insides))
        trial.wrong.push(`${name}: the database's insides are in the answer`);
    }
  }
}
