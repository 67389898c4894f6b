import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createClient } from "@supabase/supabase-js";
import { generateText, jsonSchema, stepCountIs, streamText, tool, wrapLanguageModel } from "ai";
import OpenAI, { APIError } from "openai";
import ws from "ws";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  BudgetSpentError,
  chargeAnthropic,
  chargedFetch,
  chargeOpenAI,
  type ChargeOptions,
  type HoldClient,
  type StreamEnd,
  tokenBudget,
  tokenMiddleware,
  TokensShortError,
} from "../../packages/tokenbook/src/ai/index.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createUser } from "../support/roles.ts";
import { modelOf, type Provider, startProvider, words } from "./provider.ts";

let stack: Stack;
let provider: Provider;
let books: HoldClient;
let userId: string;
let ends: StreamEnd[];

beforeAll(async () => {
  stack = await startStack();
  provider = await startProvider();
  books = createClient(stack.url, stack.keys.secretKey, { realtime: { transport: ws as never } });
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await provider.close();
});
beforeEach(async () => {
  userId = await createUser(stack.db);
  await grant(stack.db, userId, 10_000);
  ends = [];
});

const options = (more: Partial<ChargeOptions> = {}): ChargeOptions => ({
  userId,
  onSettled: (end) => ends.push(end),
  ...more,
});
const openai = (more?: Partial<ChargeOptions>) =>
  chargeOpenAI(new OpenAI({ baseURL: `${provider.url}/v1`, apiKey: "k" }), books, options(more));
const anthropic = (more?: Partial<ChargeOptions>) =>
  chargeAnthropic(new Anthropic({ baseURL: provider.url, apiKey: "k" }), books, options(more));
const language = (model: string, more?: Partial<ChargeOptions>) =>
  wrapLanguageModel({
    model: createOpenAICompatible({ name: "local", baseURL: `${provider.url}/v1`, includeUsage: true })(
      model,
    ),
    middleware: tokenMiddleware(books, options(more)),
  });

const messages = [{ role: "user" as const, content: "When does the tide come in?" }];
const runs = modelOf("runs", 20, 10);

/** What the user has paid, what is still held, and their usage rows. */
async function paid() {
  const { rows } = await stack.db.admin.query(
    `select a.tokens_used::float8 as used, a.tokens_reserved::float8 as held,
            (select count(*)::int from public.token_holds h where h.user_id = a.user_id and h.status = 'open') as open,
            coalesce((select jsonb_agg(jsonb_build_object('action', u.action_type, 'model', u.model_used,
                'input', u.input_tokens, 'output', u.output_tokens, 'images', u.images, 'seconds', u.seconds,
                'success', u.success, 'outcome', u.metadata ->> 'outcome', 'by', u.metadata ->> 'counted_by')
                order by u.created_at) from public.token_usage u where u.user_id = a.user_id), '[]') as usage
       from public.token_accounts a where a.user_id = $1`,
    [userId],
  );
  return rows[0];
}

describe("the SDK of OpenAI, charged,", () => {
  test("is the SDK, and its client stays as it was", async () => {
    const plain = new OpenAI({ baseURL: `${provider.url}/v1`, apiKey: "k" });
    const charged: OpenAI = chargeOpenAI(plain, books, options());
    expect(charged).toBeInstanceOf(OpenAI);
    await plain.chat.completions.create({ model: runs, messages });
    expect(await paid()).toMatchObject({ used: 0 });
  });

  test("answers a chat completion, and what the provider counts is paid before it does", async () => {
    const { data, response } = await openai()
      .chat.completions.create({ model: runs, messages })
      .withResponse();
    expect([data.choices[0]!.message.content, response.status]).toEqual([words.join(" "), 200]);
    expect(await paid()).toMatchObject({
      used: 30,
      held: 0,
      usage: [
        {
          action: "chat_conversation",
          model: runs,
          input: 20,
          output: 10,
          outcome: "completed",
          by: "provider",
        },
      ],
    });
    expect(ends).toMatchObject([{ outcome: "completed", receipt: { tokensDeducted: 30 } }]);
  });

  test("streams one, asks for its count, and keeps that event to itself", async () => {
    let read = "";
    const stream = await openai().chat.completions.create({ model: runs, messages, stream: true });
    for await (const { choices } of stream) read += choices[0]!.delta.content ?? "";
    expect(read).toBe(words.join(""));
    expect(JSON.parse(provider.asked.at(-1)!.body).stream_options).toEqual({ include_usage: true });
    expect(await paid()).toMatchObject({ used: 30, held: 0, usage: [{ by: "provider" }] });
  });

  test("gives the count to callers who ask for it", async () => {
    const stream_options = { include_usage: true };
    const stream = await openai().chat.completions.create({
      model: runs,
      messages,
      stream: true,
      stream_options,
    });
    const usage = [];
    for await (const chunk of stream) if (chunk.usage) usage.push(chunk.usage.total_tokens);
    expect(usage).toEqual([30]);
  });

  test("makes responses, streamed and not", async () => {
    const client = openai();
    await client.responses.create({ model: runs, input: "When?" });
    for await (const _ of await client.responses.create({ model: runs, input: "When?", stream: true }));
    expect(await paid()).toMatchObject({ used: 60, held: 0, usage: [{ output: 10 }, { output: 10 }] });
  });

  test("makes embeddings, images and audio, each recorded as what it is", async () => {
    const client = openai({ tokens: 100 });
    await client.embeddings.create({ model: runs, input: "tide" });
    await client.images.generate({ model: runs, prompt: "the tide", n: 2 });
    await client.images.generate({ model: modelOf("runs", 0, 0), prompt: "the tide", n: 2 });
    const file = new File([new Uint8Array(64)], "tide.mp3");
    await client.audio.transcriptions.create({ model: runs, file });
    const speech = await client.audio.speech.create({ model: runs, voice: "alloy", input: "twelve bytes" });
    expect((await speech.arrayBuffer()).byteLength).toBe(64);
    expect((await paid()).usage).toMatchObject([
      { action: "embedding", input: 20, output: 0 },
      { action: "image_generation", input: 20, output: 10, images: 2 },
      { action: "image_generation", input: null, output: null, images: 2 },
      { action: "audio", input: null, seconds: 9 },
      { action: "audio", input: 4, output: 0, by: "estimate" },
    ]);
    expect(await paid()).toMatchObject({ used: 20 + 30 + 100 + 100 + 4, held: 0 });
  });

  test.each([false, true])(
    "is refused what the user cannot pay, once, and the model is not asked (stream: %s)",
    async (stream) => {
      const before = provider.asked.length;
      const asking = openai({ tokens: 20_000 }).chat.completions.create({ model: runs, messages, stream });
      const error = await asking.catch((it) => it);
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({
        status: 402,
        code: "insufficient_balance",
        error: { required: 20_000, available: 10_000 },
      });
      expect(provider.asked).toHaveLength(before);
    },
  );

  test("is called once for a key", async () => {
    const headers = { "idempotency-key": "a" };
    await openai().chat.completions.create({ model: runs, messages }, { headers });
    const again = openai().chat.completions.create({ model: runs, messages }, { headers });
    await expect(again).rejects.toMatchObject({ status: 409, code: "call_already_made" });
    expect(await paid()).toMatchObject({ used: 30 });
  });

  test("tries again as ever when the provider is down: each try is a call that costs nothing", async () => {
    const before = provider.asked.length;
    const asking = openai().chat.completions.create(
      { model: modelOf("says-500", 1, 1), messages },
      { maxRetries: 1 },
    );
    await expect(asking).rejects.toMatchObject({ status: 500 });
    expect(provider.asked.length - before).toBe(2);
    expect(await paid()).toMatchObject({
      used: 0,
      held: 0,
      open: 0,
      usage: [{ success: false }, { success: false }],
    });
  });

  test("breaks off with the provider's own error, and nothing is paid", async () => {
    const stream = await openai().chat.completions.create({
      model: modelOf("errs", 20, 10),
      messages,
      stream: true,
    });
    const reading = (async () => {
      for await (const _ of stream);
    })();
    await expect(reading).rejects.toMatchObject({ code: "overloaded" });
    expect(await paid()).toMatchObject({ used: 0, held: 0, usage: [{ success: false, outcome: "failed" }] });
  });

  test("is stopped when its time is up, and what had come is paid", async () => {
    const client = openai({ timeoutMs: 150 });
    const stream = await client.chat.completions.create({
      model: modelOf("stalls", 20, 10),
      messages,
      stream: true,
    });
    const reading = (async () => {
      for await (const _ of stream);
    })();
    await expect(reading).rejects.toMatchObject({ code: "provider_timeout" });
    const asking = client.chat.completions.create({ model: modelOf("stalls", 20, 10), messages });
    await expect(asking).rejects.toMatchObject({ code: "provider_timeout" });
    const { used, usage, open } = await paid();
    expect(usage).toMatchObject([
      { outcome: "timed_out", output: 2, by: "estimate" },
      { outcome: "timed_out" },
    ]);
    expect([used > 0, open]).toEqual([true, 0]);
  });

  test("is left in the middle, and what had come is paid", async () => {
    const stream = await openai().chat.completions.create({
      model: modelOf("stalls", 20, 10),
      messages,
      stream: true,
    });
    for await (const _ of stream) break;
    await expect.poll(async () => (await paid()).open).toBe(0);
    expect((await paid()).usage).toMatchObject([{ outcome: "aborted", by: "estimate" }]);
    expect((await paid()).used).toBeGreaterThan(0);
  });

  test("is not charged for what costs no tokens", async () => {
    await openai().models.list();
    expect(await paid()).toMatchObject({ usage: [] });
  });

  test("is not misled by a last frame of zeros", async () => {
    const model = modelOf("ends in zeros", 20, 10);
    for await (const _ of await openai().chat.completions.create({ model, messages, stream: true }));
    expect(await paid()).toMatchObject({ used: 30, usage: [{ by: "provider" }] });
  });
});

describe("any client's fetch, charged,", () => {
  const url = () => `${provider.url}/v1/chat/completions`;
  const body = JSON.stringify({ model: runs, messages });
  const headers = { "content-type": "application/json", "idempotency-key": "of-a-message", "x-mine": "1" };
  const asked: [string, (ask: typeof fetch) => Promise<Response>][] = [
    ["an address", (ask) => ask(url(), { method: "POST", headers, body })],
    ["a URL", (ask) => ask(new URL(url()), { method: "post", headers, body })],
    ["a Request", (ask) => ask(new Request(url(), { method: "POST", headers, body }))],
    ["a Request and a body", (ask) => ask(new Request(url(), { method: "POST", headers }), { body })],
    ["a Request and a method", (ask) => ask(new Request(url(), { headers }), { method: "POST", body })],
    ["a slash at the end", (ask) => ask(`${url()}/`, { method: "POST", headers, body })],
  ];

  test.each(asked)("pays for what is asked by %s", async (_, ask) => {
    const answer = await ask(chargedFetch(books, options()));
    expect(answer.status).toBe(200);
    await answer.text();
    expect(await paid()).toMatchObject({ used: 30, held: 0, usage: [{ model: runs, by: "provider" }] });
    expect(provider.asked.at(-1)).toMatchObject({ body: expect.stringContaining(runs) });
    expect(provider.asked.at(-1)!.headers).toMatchObject({ "x-mine": "1" });
    expect(await ask(chargedFetch(books, options()))).toMatchObject({ status: 409 }); // its key
  });

  test.each(asked)("is refused what nobody can pay, by %s", async (_, ask) => {
    userId = await createUser(stack.db);
    expect(await ask(chargedFetch(books, options()))).toMatchObject({ status: 402 });
  });

  test("pays for a form in a Request", async () => {
    const form = new FormData();
    form.set("model", runs);
    form.set("file", new Blob([new Uint8Array(8)]), "speech.wav");
    const of = `${provider.url}/v1/audio/transcriptions`;
    const answer = await chargedFetch(books, options())(new Request(of, { method: "POST", body: form }));
    expect(await answer.json()).toMatchObject({ usage: { seconds: 9 } });
    expect(await paid()).toMatchObject({ held: 0, usage: [{ model: runs, seconds: 9 }] });
  });

  test("stops with the signal of a Request", async () => {
    const stop = new AbortController();
    const request = new Request(url(), { method: "POST", headers, body, signal: stop.signal });
    stop.abort();
    await expect(chargedFetch(books, options())(request)).rejects.toThrow(/abort/i);
    expect(await paid()).toMatchObject({ used: 0, open: 0 });
  });
});

describe("the SDK of Anthropic, charged,", () => {
  const asked = { model: runs, max_tokens: 100, messages };

  test("answers a message, whole or as a stream, for what the provider counts", async () => {
    const client: Anthropic = anthropic();
    await client.messages.create(asked);
    for await (const _ of await client.messages.create({ ...asked, stream: true }));
    expect(await client.messages.stream(asked).finalText()).toBe(words.join(""));
    const row = { model: runs, input: 20, output: 10, by: "provider" };
    expect(await paid()).toMatchObject({ used: 90, held: 0, usage: [row, row, row] });
  });

  test("is refused what the user cannot pay", async () => {
    const asking = anthropic().messages.create({ ...asked, max_tokens: 20_000 });
    const error = await asking.catch((it) => it);
    expect(error).toBeInstanceOf(Anthropic.APIError);
    expect(error).toMatchObject({ status: 402, error: { error: { type: "insufficient_balance" } } });
  });

  test.each(["errs", "ends early", "is cut"] as const)(
    "that %s breaks off, and nothing is paid",
    async (fate) => {
      const stream = await anthropic().messages.create({
        ...asked,
        model: modelOf(fate, 20, 10),
        stream: true,
      });
      const reading = (async () => {
        for await (const _ of stream);
      })();
      await expect(reading).rejects.toThrow();
      expect(await paid()).toMatchObject({
        used: 0,
        held: 0,
        usage: [{ success: false, outcome: "failed" }],
      });
    },
  );
});

describe("the AI SDK, charged,", () => {
  test("generates and streams for what the provider counts", async () => {
    const { text } = await generateText({ model: language(runs), prompt: "When?" });
    const streamed = await streamText({ model: language(runs), prompt: "When?" }).text;
    expect([text, streamed]).toEqual([words.join(" "), words.join("")]);
    const row = { model: runs, input: 20, output: 10, by: "provider" };
    expect(await paid()).toMatchObject({ used: 60, held: 0, usage: [row, row] });
  });

  test("is refused what the user cannot pay, with the books' own error", async () => {
    const asking = generateText({ model: language(runs), prompt: "When?", maxOutputTokens: 20_000 });
    await expect(asking).rejects.toThrow(TokensShortError);
  });

  test("is called once for a key, and so is each step of a loop over tools", async () => {
    const look_up_the_tide = tool({ inputSchema: jsonSchema({ type: "object" }), execute: () => "at noon" });
    const asked = {
      model: language(modelOf("calls a tool", 20, 10)),
      prompt: "When?",
      tools: { look_up_the_tide },
      stopWhen: stepCountIs(5),
      headers: { "Idempotency-Key": `${userId}-1` },
    };
    expect((await generateText(asked)).steps).toHaveLength(2);
    await expect(generateText(asked)).rejects.toMatchObject({
      name: "CallAlreadyMadeError",
      code: "call_already_made",
      holdStatus: "settled",
    });
    expect(await paid()).toMatchObject({ used: 60, held: 0, usage: [{ output: 10 }, { output: 10 }] });
  });

  test("is aborted, and what had come is paid", async () => {
    const gone = new AbortController();
    const { textStream } = streamText({
      model: language(modelOf("stalls", 20, 10)),
      prompt: "When?",
      abortSignal: gone.signal,
      onError() {},
    });
    for await (const _ of textStream) gone.abort();
    await expect.poll(async () => (await paid()).open).toBe(0);
    expect(await paid()).toMatchObject({ usage: [{ outcome: "aborted", by: "estimate" }] });
  });

  test.each(["errs", "is cut"] as const)("that %s breaks off, and nothing is paid", async (fate) => {
    const errors: unknown[] = [];
    const { textStream } = streamText({
      model: language(modelOf(fate, 20, 10)),
      prompt: "When?",
      onError: ({ error }) => void errors.push(error),
    });
    const reading = (async () => {
      for await (const _ of textStream);
    })();
    await reading.catch((error) => errors.push(error));
    expect(errors.length).toBeGreaterThan(0);
    expect(await paid()).toMatchObject({ used: 0, held: 0, usage: [{ success: false, outcome: "failed" }] });
  });
});

describe("a budget", () => {
  test("is shared by all that a task uses, and never exceeded by what runs at once", async () => {
    const budget = await tokenBudget(books, { userId, tokens: 1_000 });
    const shared = { parentHold: budget.holdId, tokens: 300 };
    const clients = [openai(shared), anthropic(shared)] as const;
    const calls = Array.from({ length: 10 }, (_, n) =>
      n % 2 === 0
        ? clients[0].chat.completions.create({ model: modelOf("runs", 200, 300), messages })
        : clients[1].messages.create({ model: modelOf("runs", 200, 300), max_tokens: 100, messages }),
    );
    const made = await Promise.allSettled(calls);
    const answered = made.filter(({ status }) => status === "fulfilled").length;
    const { used } = await paid();
    console.log(`budget of 1000, ten calls at once: answered=${answered} used=${used}`);
    const standing = await budget.end();
    expect(answered).toBe(3);
    expect(standing).toMatchObject({ status: "released", tokensUsed: used, tokensLeft: 0 });
    expect(used).toBe(1_000); // the first two used 500 each, beyond what they held, and the third found nothing left but that
  });

  test("refuses with its own error, and gives back what failed", async () => {
    const { holdId, end } = await tokenBudget(books, { userId, tokens: 100 });
    const failing = openai({ parentHold: holdId, tokens: 80 }).chat.completions.create(
      { model: modelOf("says-400", 1, 1), messages },
      { maxRetries: 0 },
    );
    await expect(failing).rejects.toMatchObject({ status: 400 });
    await generateText({ model: language(runs, { parentHold: holdId, tokens: 80 }), prompt: "When?" });
    const asking = generateText({
      model: language(runs, { parentHold: holdId, tokens: 80 }),
      prompt: "When?",
    });
    await expect(asking).rejects.toThrow(BudgetSpentError);
    expect(await end()).toMatchObject({ tokens: 100, tokensUsed: 30 });
    expect(await end()).toMatchObject({ status: "released", tokensUsed: 30 });
  });
});
