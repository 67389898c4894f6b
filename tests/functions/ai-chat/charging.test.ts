import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { asService, rpc } from "../../support/roles.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";
import { bodyFor, booksOf, chat, expectSettledBooks, leave, question } from "./chat.ts";
import { answer, type Provider, startProvider } from "./provider.ts";

const apiKey = "sk-secret-of-the-project";

let provider: Provider;
let stack: Stack;
let user: Caller & { id: string };

beforeAll(async () => {
  provider = await startProvider();
  stack = await startStack({ AI_BASE_URL: provider.url, AI_API_KEY: apiKey, AI_TIMEOUT_SECONDS: "3" });
});
beforeEach(async () => {
  user = await stack.user();
  await grant(stack.db, user.id, 1_000);
});
afterEach(() => expectSettledBooks(stack));
afterAll(async () => {
  const { rows } = await stack.db.admin.query(
    "select status, count(*)::int as n from public.token_holds group by status order by status",
  );
  const holds = Object.fromEntries(rows.map(({ status, n }) => [status, n]));
  console.log(`open=${holds.open ?? 0} holds=${JSON.stringify(holds)} model asked=${provider.asked.length}`);
  await stack.close();
  await provider.close();
});

const books = () => booksOf(stack, user.id);

describe("an answer", () => {
  test("is streamed, and charged as the provider counts it, before the client reads its end", async () => {
    const said = await chat(stack, user, bodyFor("streams"));

    expect(said).toMatchObject({ status: 200, content: answer, isDone: true });
    expect(said.cost).toEqual({
      hold_id: expect.any(String),
      usage_id: expect.any(String),
      tokens_deducted: 30,
      tokens_remaining: 970,
    });
    expect(await books()).toMatchObject({
      deducted: 30,
      reserved: 0,
      holds: [{ status: "captured", captured: 30 }],
      usage: [
        {
          success: true,
          tokens: 30,
          input: 20,
          output: 10,
          model: "streams",
          metadata: {
            model: "streams",
            outcome: "completed",
            counted_by: "provider",
          },
        },
      ],
    });
    const { holds } = await books();
    console.log(
      `held ${holds[0]!.tokens} tokens, charged ${holds[0]!.captured}: ${said.text.split("\n\n").at(-3)}`,
    );
  });

  test("is asked for as it was put, limited, counted, and with the project's key", async () => {
    await grant(stack.db, user.id, 1_000);
    await chat(stack, user, { ...bodyFor("streams"), max_tokens: undefined, temperature: 0.5 });
    expect(provider.asked.at(-1)).toMatchObject({
      path: "/v1/chat/completions",
      authorization: `Bearer ${apiKey}`,
      body: {
        model: "streams",
        temperature: 0.5,
        messages: [
          {
            role: "user",
            content: question,
          },
        ],
        max_tokens: 1024,
        stream: true,
        stream_options: { include_usage: true },
      },
    });
  });

  test("ends with the provider's count for those only who ask for it", async () => {
    const plain = await chat(stack, user, bodyFor("streams"));
    const asking = await chat(stack, user, bodyFor("streams", { stream_options: { include_usage: true } }));
    const counts = (events: { choices: unknown[] }[]) => events.filter(({ choices }) => choices.length === 0);
    expect([counts(plain.events).length, counts(asking.events).length]).toEqual([0, 1]);
  });

  test.each([
    ["thinks", { tokens: 30, input: 20, output: 10, cached: 15, reasoning: 4 }],
    ["thinks-beside", { tokens: 34, input: 20, output: 14, cached: null, reasoning: 4 }],
  ])("of a model that %s counts no token twice and none not at all", async (model, usage) => {
    await chat(stack, user, bodyFor(model));
    expect(await books()).toMatchObject({ deducted: usage.tokens, usage: [usage] });
  });

  test("whose last frame is of zeros is charged what came before", async () => {
    const said = await chat(stack, user, bodyFor("ends-with-zeros"));
    expect(said.cost).toMatchObject({ tokens_deducted: 30 });
  });

  test.each(["counts-nothing", "counts-zeros", "counts-junk"])(
    "of a server that %s is charged by the estimate, and says so",
    async (model) => {
      const said = await chat(stack, user, bodyFor(model));
      expect(said).toMatchObject({ content: answer, isDone: true });
      const { usage, deducted } = await books();
      const output = Math.ceil(answer.length / 4);
      expect(usage).toMatchObject([{ success: true, output, metadata: { counted_by: "estimate" } }]);
      expect(deducted).toBe(usage[0]!.input! + output);
    },
  );

  test("that used more than was held takes the rest from the balance", async () => {
    const said = await chat(stack, user, bodyFor("is-dear", { max_tokens: 100 }));
    expect(said.cost).toMatchObject({ tokens_deducted: 500, tokens_remaining: 500 });
  });

  test("that used more than there is takes what there is, and records what is not covered", async () => {
    await chat(stack, user, bodyFor("is-dear"));
    await chat(stack, user, bodyFor("is-dear", { max_tokens: 400 }));
    await grant(stack.db, user.id, 200);
    const said = await chat(stack, user, bodyFor("is-dear", { max_tokens: 100 }));
    const { usage, deducted } = await books();
    expect(said).toMatchObject({ isDone: true, cost: { tokens_deducted: 200, tokens_remaining: 0 } });
    expect(usage.at(-1)).toMatchObject({ tokens: 500, uncovered: 300 });
    expect(deducted).toBe(1_200);
  });

  test("costs what the project has priced the action at", async () => {
    await stack.db.admin.query("insert into public.token_action_costs values ('chat_conversation', 7, 7)");
    const said = await chat(stack, user, bodyFor("streams"));
    await stack.db.admin.query(
      "delete from public.token_action_costs where action_type = 'chat_conversation' and min_tokens = 7",
    );
    expect(said.cost).toMatchObject({ tokens_deducted: 7 });
    expect((await books()).holds).toMatchObject([{ tokens: 7, captured: 7 }]);
  });
});

describe("an answer in one piece", () => {
  const whole = (model: string, rest: object = {}) =>
    stack.ask("ai-chat", { caller: user, body: bodyFor(model, { stream: false, ...rest }) });

  test("is the provider's JSON, with what it cost", async () => {
    const { status, body } = await whole("streams");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { content: answer } }],
      usage: { total_tokens: 30 },
      tokenbook: { tokens_deducted: 30, tokens_remaining: 970 },
    });
    expect(provider.asked.at(-1)!.body).toMatchObject({ stream: false, max_tokens: 200 });
    expect(provider.asked.at(-1)!.body.stream_options).toBeUndefined();
    expect(await books()).toMatchObject({
      deducted: 30,
      holds: [{ status: "captured" }],
      usage: [{ input: 20, output: 10, metadata: { outcome: "completed", counted_by: "provider" } }],
    });
  });

  test.each(["counts-nothing", "counts-zeros"])(
    "of a server that %s is charged by the estimate",
    async (model) => {
      await whole(model);
      const { usage, deducted } = await books();
      expect(usage).toMatchObject([
        { output: Math.ceil(answer.length / 4), metadata: { counted_by: "estimate" } },
      ]);
      expect(deducted).toBe(usage[0]!.input! + usage[0]!.output!);
    },
  );

  test.each([
    ["says-400", "provider_refused", 400],
    ["says-500", "provider_failed", 500],
    ["says-html", "provider_failed", 200],
    ["talks-junk", "provider_failed", undefined],
    ["errs-midway", "provider_failed", undefined],
  ] as const)(
    "of a server that %s is a problem (%s), and nothing is charged",
    async (model, slug, providerStatus) => {
      expectProblem(await whole(model), slug, providerStatus === undefined ? {} : { providerStatus });
      expect(await books()).toMatchObject({ deducted: 0, reserved: 0, usage: [{ success: false }] });
    },
  );

  test("that used more than was held takes the rest from the balance", async () => {
    expect((await whole("is-dear", { max_tokens: 100 })).body.tokenbook).toMatchObject({
      tokens_deducted: 500,
    });
  });

  test("is made once for a key", async () => {
    const headers = { "idempotency-key": randomUUID() };
    const body = bodyFor("streams", { stream: false });
    await stack.ask("ai-chat", { caller: user, body, headers });
    const again = await stack.ask("ai-chat", { caller: user, body, headers });
    expectProblem(again, "call_already_made", { holdStatus: "settled" });
  });
});

describe("embeddings", () => {
  const embed = (body: object) => stack.ask("ai-chat/embeddings", { caller: user, body });

  test.each([
    ["embeds", 8, "provider"],
    ["embeds-uncounted", 5, "estimate"],
  ])("of a server that %s are OpenAI's answer, and cost their input", async (model, tokens, counted_by) => {
    const { status, body } = await embed({
      model,
      input: ["a first text", "another"],
      encoding_format: "float",
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ data: [{ embedding: [0.25, -1] }], tokenbook: { tokens_deducted: tokens } });
    expect(provider.asked.at(-1)).toMatchObject({
      path: "/v1/embeddings",
      body: { model, input: ["a first text", "another"], encoding_format: "float" },
    });
    expect(await books()).toMatchObject({
      deducted: tokens,
      reserved: 0,
      usage: [{ model, input: tokens, output: 0, metadata: { counted_by } }],
    });
  });

  test.each([
    [{ model: "embeds" }, "input"],
    [{ model: "embeds", input: "" }, "input"],
    [{ model: "embeds", input: [] }, "input"],
    [{ model: "embeds", input: "a", n: 2 }, "n"],
    [{ input: "a" }, "model"],
  ])("%j are refused, naming %s, before anything is held", async (body, field) => {
    expectProblem(await embed(body), "invalid_request", { field });
    expect((await books()).holds).toEqual([]);
  });

  test("beyond the balance are 402, and the model is not asked", async () => {
    const before = provider.asked.length;
    expectProblem(await embed({ model: "embeds", input: "x".repeat(8_000) }), "insufficient_balance");
    expect(provider.asked).toHaveLength(before);
  });
});

describe("short of tokens", () => {
  test("the model is not asked, and the answer is 402 with what is missing", async () => {
    const before = provider.asked.length;
    const asked = await stack.ask("ai-chat", {
      caller: user,
      body: bodyFor("streams", { max_tokens: 5_000 }),
    });
    expectProblem(asked, "insufficient_balance", { available: 1_000 });
    expect(asked.body.required).toBeGreaterThan(5_000);
    expect(provider.asked).toHaveLength(before);
    expect(await books()).toMatchObject({ holds: [], usage: [], deducted: 0 });
  });
});

describe("under a spend cap", () => {
  test("the model is not asked, and the answer is 429 with the cap and not 402: more tokens do not help", async () => {
    const before = provider.asked.length;
    await asService(stack.db, (client) =>
      rpc(client, "set_token_spend_cap", {
        p_window: "day",
        p_tokens: 50,
        p_user_id: user.id,
        p_reason: "too fast",
      }),
    );
    const asked = await stack.ask("ai-chat", { caller: user, body: bodyFor("streams") });
    expectProblem(asked, "spend_cap_reached", {
      scope: "user",
      window: "day",
      limit: 50,
      used: 0,
      available: 50,
      resetsAt: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T00:00:00/),
    });
    const seconds = (Date.parse(asked.body.resetsAt) - Date.now()) / 1_000;
    expect(Math.abs(Number(asked.headers.get("retry-after")) - seconds)).toBeLessThan(5);
    expect(provider.asked).toHaveLength(before);
    expect(await books()).toMatchObject({ holds: [], usage: [], deducted: 0 });

    await asService(stack.db, (client) =>
      rpc(client, "set_token_spend_cap", { p_window: "day", p_tokens: null, p_user_id: user.id }),
    );
    expect(await chat(stack, user, bodyFor("streams"))).toMatchObject({ status: 200, isDone: true });
  });
});

describe("a provider that", () => {
  test.each([
    ["says-400", "provider_refused", 400],
    ["says-401", "provider_failed", 401],
    ["says-429", "provider_failed", 429],
    ["says-500", "provider_failed", 500],
    ["says-html", "provider_failed", 200],
    ["goes-elsewhere", "provider_failed", undefined],
  ] as const)("%s is a problem (%s), and nothing is charged", async (model, slug, providerStatus) => {
    const asked = await stack.ask("ai-chat", { caller: user, body: bodyFor(model) });
    expectProblem(asked, slug, providerStatus === undefined ? {} : { providerStatus });
    const error = providerStatus === undefined ? slug : `${slug} (HTTP ${providerStatus})`;
    expect(await books()).toMatchObject({ deducted: 0, reserved: 0, usage: [{ success: false, error }] });
  });

  test.each(["breaks-midway", "ends-midway", "errs-midway", "talks-junk"])(
    "%s is an event with the problem, and nothing is charged",
    async (model) => {
      const said = await chat(stack, user, bodyFor(model));
      expect(said).toMatchObject({ status: 200, content: "One", isDone: false, cost: undefined });
      expect(said.error).toMatchObject({ code: "provider_failed", status: 502, retryable: true });
      expect(said.text).not.toContain("sk-secret");
      expect(await books()).toMatchObject({
        deducted: 0,
        reserved: 0,
        holds: [
          {
            status: "captured",
            captured: 0,
          },
        ],
        usage: [
          {
            success: false,
            output: 1,
            metadata: { outcome: "failed" },
          },
        ],
      });
    },
  );

  test("never-ends-a-line fills no memory", async () => {
    const said = await chat(stack, user, bodyFor("never-ends-a-line"));
    expect(said.error).toMatchObject({ code: "provider_failed" });
  });

  test("stalls, before its answer or in it, is given up when the time is up; what had come is charged", async () => {
    const other = await stack.user();
    await grant(stack.db, other.id, 1_000);
    // both at once: each takes the whole time
    const [before, midway] = await Promise.all([
      stack.ask("ai-chat", { caller: user, body: bodyFor("stalls-at-once") }),
      chat(stack, other, bodyFor("stalls-midway")),
    ]);

    expectProblem(before, "provider_timeout");
    expect(await books()).toMatchObject({
      deducted: 0,
      usage: [{ success: false, error: "provider_timeout" }],
    });
    await expect.poll(() => provider.asked.slice(-2).map(({ wasLeft }) => wasLeft)).toEqual([true, true]);

    expect(midway).toMatchObject({ content: "One", isDone: false });
    expect(midway.error).toMatchObject({ code: "provider_timeout", retryable: false });
    const { usage, deducted } = await booksOf(stack, other.id);
    expect(usage).toMatchObject([{ output: 1, metadata: { outcome: "timed_out", counted_by: "estimate" } }]);
    expect(deducted).toBe(usage[0]!.tokens);
  });
});

describe("a client that goes away", () => {
  test("in the middle of an answer pays for what had come, at once, and the provider is told", async () => {
    await leave(stack, user, bodyFor("stalls-midway"), 1);
    await expect.poll(async () => (await books()).holds[0]!.status, { timeout: 2_000 }).toBe("captured");
    const { usage, deducted, reserved } = await books();
    expect(usage).toMatchObject([{ success: true, output: 1, metadata: { outcome: "aborted" } }]);
    expect([deducted, reserved]).toEqual([usage[0]!.tokens, 0]);
    await expect.poll(() => provider.asked.at(-1)!.wasLeft).toBe(true);
  });

  test("before the answer begins pays nothing, and the provider is told", async () => {
    const before = provider.asked.length;
    await leave(stack, user, bodyFor("begins-late"), () => provider.asked.length > before);
    await expect.poll(async () => (await books()).holds[0]!.status, { timeout: 2_000 }).toBe("captured");
    expect(await books()).toMatchObject({
      deducted: 0,
      usage: [{ success: false, error: "the client has gone", metadata: { outcome: "aborted" } }],
    });
    await expect.poll(() => provider.asked.at(-1)!.wasLeft).toBe(true);
  });

  test("by the dozen leaves no hold behind", async () => {
    await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const other = await stack.user();
        await grant(stack.db, other.id, 1_000);
        await leave(stack, other, bodyFor("slow"), 1 + (n % 4));
      }),
    );
    const open = async () =>
      (await stack.db.admin.query("select count(*)::int as n from public.token_holds where status = 'open'"))
        .rows[0].n;
    await expect.poll(open, { timeout: 2_000 }).toBe(0);
  });
});

describe("a request that is sent again", () => {
  const headers = () => ({ "idempotency-key": randomUUID() });
  const askWith = (model: string, key: Record<string, string>) =>
    stack.ask("ai-chat", { caller: user, body: bodyFor(model), headers: key });

  test("is 409 when the first was paid for, and the model is not asked", async () => {
    const key = headers();
    expect((await askWith("streams", key)).status).toBe(200);
    const before = provider.asked.length;
    expectProblem(await askWith("streams", key), "call_already_made", { holdStatus: "settled" });
    expect(provider.asked).toHaveLength(before);
    expect(await books()).toMatchObject({ deducted: 30, holds: [{ status: "captured" }] });
  });

  test("is answered when the first cost nothing", async () => {
    const key = headers();
    expectProblem(await askWith("says-500", key), "provider_failed");
    // the same request, of a provider that has recovered
    expect((await askWith("streams", key)).status).toBe(200);
    expectProblem(await askWith("streams", key), "call_already_made", { holdStatus: "settled" });
    expect(await books()).toMatchObject({ deducted: 30, usage: [{ success: false }, { success: true }] });
  });

  test("ten times at once is answered once", async () => {
    const key = headers();
    const answers = await Promise.all(Array.from({ length: 10 }, () => askWith("slow", key)));
    const mix = answers.map(({ status }) => status).toSorted();
    console.log(`ten at once with one key: ${JSON.stringify(mix)}`);
    expect(mix).toEqual([200, ...Array.from({ length: 9 }, () => 409)]);
    const refused = answers.filter(({ status }) => status === 409).map(({ body }) => body);
    expect(refused.map(({ code }) => code)).toEqual(Array.from({ length: 9 }, () => "call_already_made"));
    // while the first is running
    expect(refused.map(({ holdStatus }) => holdStatus)).toContain("open");
    expect(await books()).toMatchObject({ deducted: 30 });
  });

  test("has a key that stands in nobody else's way", async () => {
    const key = headers();
    await askWith("streams", key);
    await grant(stack.db, user.id, 5, { key: key["idempotency-key"]! });
    expect((await stack.ask("balance", { caller: user })).body.balance.total_active).toBe(975);
  });

  test.each(["", "x".repeat(201), "two words", "é"])("with the key %j is refused", async (key) => {
    const asked = await askWith("streams", { "idempotency-key": `"${key}"` });
    expectProblem(asked, "invalid_idempotency_key", { field: "idempotencyKey" });
    expect((await books()).holds).toEqual([]);
  });

  test("with another limit under the same key is another request", async () => {
    const key = headers();
    await askWith("streams", key);
    const other = { caller: user, body: bodyFor("streams", { max_tokens: 100 }), headers: key };
    expectProblem(await stack.ask("ai-chat", other), "idempotency_key_reused");
  });
});

test("twenty calls of one user at once hold no more than the user has, and each is charged once", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => stack.ask("ai-chat", { caller: user, body: bodyFor("slow") })),
  );
  const answered = answers.filter(({ status }) => status === 200).length;
  const short = answers.filter(({ status }) => status === 402).length;
  const { deducted, usage } = await books();
  console.log(`twenty at once: answered=${answered} short=${short} deducted=${deducted}`);
  expect([answered + short, usage.length, deducted]).toEqual([20, answered, answered * 30]);
  expect([answered > 1, short > 1]).toEqual([true, true]);
});

describe("a body", () => {
  const message = { role: "user", content: "x" };
  const image = { role: "user", content: [{ type: "image_url", image_url: { url: "https://example.com" } }] };

  test.each([
    [{}, "model"],
    [{ model: "", messages: [message] }, "model"],
    [{ model: "streams" }, "messages"],
    [{ model: "streams", messages: [] }, "messages"],
    [{ model: "streams", messages: [{ role: "god", content: "x" }] }, "messages"],
    [{ model: "streams", messages: [image] }, "messages"],
    [{ model: "streams", messages: [message], max_tokens: 0 }, "max_tokens"],
    [{ model: "streams", messages: [message], max_tokens: 5, max_completion_tokens: 5 }, "max_tokens"],
    [{ model: "streams", messages: [message], stream: "no" }, "stream"],
    [{ model: "streams", messages: [message], n: 5 }, "n"],
    [{ model: "streams", messages: [message], user: "somebody" }, "user"],
  ])("%j is refused, naming %s, before anything is held", async (body, field) => {
    expectProblem(await stack.ask("ai-chat", { caller: user, body }), "invalid_request", { field });
    expect((await books()).holds).toEqual([]);
  });

  test("of a conversation with tools passes", async () => {
    const body = bodyFor("streams", {
      messages: [
        { role: "system", content: [{ type: "text", text: "Be brief." }] },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{}" } }],
        },
        { role: "tool", tool_call_id: "1", content: "4" },
      ],
      tools: [{ type: "function", function: { name: "f", parameters: {} } }],
    });
    expect(await chat(stack, user, body)).toMatchObject({ status: 200, isDone: true });
    expect(provider.asked.at(-1)!.body).toMatchObject({ messages: body.messages });
  });
});

test("neither what users write nor the provider's key is in the logs or in the books", async () => {
  const log = stack.log.join("\n");
  expect(log).toContain("provider_failed in the middle of an answer");
  const { rows } = await stack.db.admin.query(
    `select string_agg(it, ' ') as it from (
       select to_jsonb(u)::text as it from public.token_usage u
       union all select to_jsonb(t)::text from public.token_transactions t
       union all select to_jsonb(h)::text from public.token_holds h) as everything`,
  );
  expect(rows[0].it.length).toBeGreaterThan(10_000);
  for (const text of [log, rows[0].it]) expect(text).not.toMatch(/nobody-may-log-this|sk-secret|One two/);
});
