// Which methods, callers and bodies each function takes is promise P23, preflights and forged tokens too.
// Here is what exactly the answers are.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Slug } from "../../../supabase/functions/_shared/errors.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
import { type Callers, everyCaller, type Kind } from "../callers.ts";
import { startStack, type Answer, type Stack } from "../stack.ts";

let stack: Stack;
let target: string;
/** Everybody who may come along, and what they are to be taken for. */
let callers: Callers;
beforeAll(async () => {
  stack = await startStack();
  target = (await stack.user()).id;
  callers = await everyCaller(stack, target);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
});

/** Bodies for the two POST functions, and what they come to when the caller may. */
const bodies: Record<
  string,
  { body: (name: string) => unknown; type?: string; slug?: Slug; facts?: object }
> = {
  good: { body: (name) => ({ userId: target, [amountOf(name)]: 1 }) },
  "for an unknown user": {
    body: (name) => ({ userId: randomUUID(), [amountOf(name)]: 1 }),
    slug: "user_not_found",
  },
  "without a user": {
    body: (name) => ({ [amountOf(name)]: 1 }),
    slug: "invalid_user_id",
    facts: { field: "userId" },
  },
  "of nothing": {
    body: (name) => ({ userId: target, [amountOf(name)]: 0 }),
    slug: "invalid_amount",
  },
  "with a stranger's field": {
    body: (name) => ({ userId: target, [amountOf(name)]: 1, admin: true }),
    slug: "invalid_request",
    facts: { field: "admin" },
  },
  "with the amount twice": {
    body: (name) => `{"userId":"${target}","${amountOf(name)}":1,"${amountOf(name)}":1000}`,
    slug: "invalid_request",
  },
  "with a member twice, written otherwise": {
    body: (name) => `{"\\u0075serId":"${target}","${amountOf(name)}":1,"userId":"${target}"}`,
    slug: "invalid_request",
    facts: { field: "userId", rule: "given once" },
  },
  "with a member twice, far inside": {
    body: (name) =>
      `{"userId":"${target}","${amountOf(name)}":1,"metadata":{"list":[{"a":1},{"a":"}","b":{"c":1,"\\u0063":2}}]}}`,
    slug: "invalid_request",
    facts: { field: "c", rule: "given once" },
  },
  "with the same name in several objects": {
    body: (name) =>
      `{"userId":"${target}","${amountOf(name)}":1,"metadata":{"a":{"a":[{"a":1},{"a":"\\"a\\":"}]},"userId":"a"}}`,
  },
  "with an amount that JavaScript rounds to a whole one": {
    body: (name) => `{"userId":"${target}","${amountOf(name)}":4.99999999999999999}`,
    slug: "invalid_request",
    facts: { rule: "no more digits than a double holds" },
  },
  "with one that it rounds to nothing, in metadata": {
    body: (name) => `{"userId":"${target}","${amountOf(name)}":1,"metadata":{"cost":1e-400}}`,
    slug: "invalid_request",
    facts: { field: "cost", rule: "no more digits than a double holds" },
  },
  "with a whole amount, written at length": {
    body: (name) =>
      `{"userId":"${target}","${amountOf(name)}":10.00e-1,"metadata":{"n":[0.5,-0.0,"4.99999999999999999"]}}`,
  },
  "with a byte order mark": {
    body: (name) => `\ufeff{"userId":"${target}","${amountOf(name)}":1}`,
    slug: "invalid_request",
    facts: { field: "body" },
  },
  "no JSON": { body: () => "userId=1", slug: "invalid_request", facts: { field: "body" } },
  "of another type": { body: () => "{}", type: "text/plain", slug: "unsupported_media_type" },
};
const amountOf = (name: string) => (name === "grant" ? "tokens" : "delta");

/** A body with that many bytes of reason, and no amount. */
const sized = (bytes: number) => JSON.stringify({ userId: target, reason: "x".repeat(bytes) });

/** What is to come, from the promises alone: method, size, caller, rights, body. */
function expected(kind: Kind, what: { slug?: Slug }): Slug | undefined {
  if (kind === "unknown") return "not_authenticated";
  if (kind === "user") return "forbidden";
  // Their token lets them as far as SQL, which knows better; SQL does not see a body that is no request.
  if (kind === "former admin")
    return what.slug === "user_not_found" || what.slug === undefined ? "forbidden" : what.slug;
  return what.slug;
}

describe.each(["admin-adjust", "grant"])("%s", (name) => {
  test("every caller with every body gets the right answer, as a problem without internals", async () => {
    const mix: Record<number, number> = {};
    for (const [who, { headers, kind }] of Object.entries(callers)) {
      for (const [what, { body, type, slug, facts }] of Object.entries(bodies)) {
        const answer = await stack.ask(name, {
          body: body(name),
          headers: { "content-type": type ?? "application/json", ...headers },
        });
        mix[answer.status] = (mix[answer.status] ?? 0) + 1;
        let due = expected(kind, { slug });
        // SQL has not the same reason to look at the amount of somebody who may not ask
        if (kind === "former admin" && what === "of nothing") due = "forbidden";
        check(`${who}, ${what}`, answer, due, due === slug ? facts : {});
      }
    }
    console.log(`${name}: ${JSON.stringify(mix)}`);
  });

  test("a body of more than 64 KiB is 413 for every caller, with and without a length", async () => {
    for (const { headers } of Object.values(callers)) {
      check("", await stack.ask(name, { body: sized(65536), headers }), "payload_too_large", {
        limit: 65536,
        detail: "Send at most 65536 bytes.",
      });
    }
    check(
      "1 MB",
      await stack.ask(name, { body: sized(1_000_000), caller: callers["an admin"] }),
      "payload_too_large",
    );
    const chunked = await fetch(`${stack.url}/functions/v1/${name}`, {
      method: "POST",
      headers: { ...callers["an admin"]!.headers, "content-type": "application/json" },
      body: new Blob([sized(100_000)]).stream(),
      duplex: "half",
    } as RequestInit);
    expect(chunked.status).toBe(413);
    const fits = sized(65536 - sized(0).length);
    expect(fits).toHaveLength(65536);
    check("64 KiB", await stack.ask(name, { body: fits, caller: callers["an admin"] }), "invalid_amount");
  });

  test("a body of 10 MB is 413 too, and its sender lives to read it; one of no end is cut off", async () => {
    const caller = callers["an admin"]!;
    check("10 MB", await stack.ask(name, { body: sized(10_000_000), caller }), "payload_too_large");
    const send = (pull: (controller: ReadableStreamDefaultController<Uint8Array>) => void | Promise<void>) =>
      fetch(`${stack.url}/functions/v1/${name}`, {
        method: "POST",
        headers: { ...caller.headers, "content-type": "application/json" },
        body: new ReadableStream({ pull }),
        duplex: "half",
      } as RequestInit);
    const block = new Uint8Array(64 * 1024).fill(0x20);
    let sent = 0;
    const endless = await send((controller) => {
      sent += block.length;
      controller.enqueue(block);
    }).then(
      ({ status }) => status,
      () => "cut off",
    );
    expect([413, "cut off"]).toContain(endless);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  test(
    "a body that does not arrive is 408 after ten seconds, worth sending again",
    { tags: ["proof"], timeout: 30_000 },
    async () => {
      const begin = performance.now();
      const answer = await fetch(`${stack.url}/functions/v1/${name}`, {
        method: "POST",
        headers: { ...callers["an admin"]!.headers, "content-type": "application/json" },
        body: new ReadableStream({
          async pull(controller) {
            controller.enqueue(new TextEncoder().encode(" "));
            await new Promise((go) => setTimeout(go, 500));
          },
        }),
        duplex: "half",
      } as RequestInit);
      const seconds = (performance.now() - begin) / 1_000;
      console.log(
        `${name}: a body of one byte each half second: ${answer.status} after ${seconds.toFixed(1)} s`,
      );
      expect([answer.status, (await answer.json()).code]).toEqual([408, "request_timeout"]);
      expect(answer.headers.get("retry-after")).toBe("1");
      expect(seconds).toBeGreaterThan(9);
      expect(seconds).toBeLessThan(15);
    },
  );

  test("JSON may be declared with a charset, and must be declared", async () => {
    const body = JSON.stringify(bodies["good"]!.body(name));
    const ask = (type: string) =>
      stack.ask(name, { body, caller: callers["an admin"]!, headers: { "content-type": type } });
    expect((await ask("Application/JSON; charset=utf-8")).status).toBe(200);
    for (const type of [
      "application/jsonp",
      "text/json",
      "multipart/form-data",
      "application/x-www-form-urlencoded",
    ]) {
      check(type, await ask(type), "unsupported_media_type");
    }
  });
});

test("balance: every caller gets the right answer", async () => {
  const mix: Record<number, number> = {};
  for (const [who, { headers, kind }] of Object.entries(callers)) {
    for (const [query, slug] of [
      ["", kind === "server" ? "invalid_user_id" : undefined],
      [
        `userId=${target}`,
        kind === "admin" || kind === "server" || who.includes("claims to be") ? undefined : "forbidden",
      ],
      [`userId=${randomUUID()}`, kind === "admin" || kind === "server" ? "user_not_found" : "forbidden"],
      ["what=ever", "invalid_request"],
    ] as const) {
      const answer = await stack.ask("balance", { query, headers });
      mix[answer.status] = (mix[answer.status] ?? 0) + 1;
      check(`${who}, ?${query}`, answer, kind === "unknown" ? "not_authenticated" : slug);
    }
  }
  console.log(`balance: ${JSON.stringify(mix)}`);
});

test("payments: every caller gets the right answer", async () => {
  const mix: Record<number, number> = {};
  const decision = { userId: target, paymentId: randomUUID(), reason: "x" };
  for (const [who, { headers, kind }] of Object.entries(callers)) {
    const mayDecide = kind === "admin" || kind === "server";
    for (const [question, slug] of [
      [{ query: `userId=${target}` }, mayDecide || who.includes("claims to be") ? undefined : "forbidden"],
      [{ query: "what=ever" }, "invalid_request"],
      [{ body: { action: "approve", ...decision } }, mayDecide ? "payment_not_found" : "forbidden"],
      [{ body: { action: "reject", ...decision } }, mayDecide ? "payment_not_found" : "forbidden"],
      [
        { body: { action: "create", planType: "gold", userId: randomUUID() } },
        mayDecide ? "user_not_found" : "forbidden",
      ],
      [{ body: { action: "approve" } }, "invalid_user_id"],
    ] as const) {
      const answer = await stack.ask("payments", {
        ...question,
        headers: { ...("body" in question && { "content-type": "application/json" }), ...headers },
      });
      mix[answer.status] = (mix[answer.status] ?? 0) + 1;
      check(`${who}, ${JSON.stringify(question)}`, answer, kind === "unknown" ? "not_authenticated" : slug);
    }
  }
  console.log(`payments: ${JSON.stringify(mix)}`);
});

test("an unknown caller is told how to authenticate, and nothing about why it failed", async () => {
  const answers = await Promise.all(
    Object.values(callers)
      .filter(({ kind }) => kind === "unknown")
      .map(({ headers }) => stack.ask("balance", { headers })),
  );
  expect(answers.length).toBeGreaterThan(20);
  for (const answer of answers) expect(answer.headers.get("www-authenticate")).toBe("Bearer");
  expect(new Set(answers.map(({ body }) => JSON.stringify({ ...body, instance: "" }))).size).toBe(1);
});

function check(label: string, answer: Answer, slug: Slug | undefined, facts: object = {}): void {
  const got = answer.status === 200 ? undefined : answer.body?.code;
  expect(`${label}: ${got}`, answer.text).toBe(`${label}: ${slug}`);
  if (slug !== undefined) expectProblem(answer, slug, facts as Record<string, unknown>);
}
