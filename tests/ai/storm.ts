/** Calls of models through each wrapper, over real HTTP, with everything that can go wrong with them; and what the books say. */
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText, wrapLanguageModel } from "ai";
import OpenAI from "openai";
import type * as Wrappers from "../../packages/tokenbook/src/ai/index.ts";
import { openBooks } from "../functions/shared/token-hold/books-client.ts";
import { grant } from "../support/books.ts";
import type { Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { type Fate, modelOf, startProvider, words } from "./provider.ts";

/** The wrappers, or a known-bad variant of them. */
export type Ai = typeof Wrappers;

const wrappers = ["openai chat", "openai responses", "anthropic", "ai sdk"] as const;
const fates: Fate[] = ["runs", "says-500", "says-400", "is cut", "ends early", "errs", "stalls"];
type Leaving = "stays" | "aborts" | "breaks off";

interface Call {
  id: string;
  wrapper: (typeof wrappers)[number];
  isStream: boolean;
  fate: Fate;
  leaving: Leaving;
  input: number;
  output: number;
  /** Bytes of the answer that its reader has seen. */
  read: number;
}

export interface Findings {
  /** Holds that were open when their calls had ended. */
  leaks: number;
  /** What else is not as it must be, in words. */
  violations: string[];
  /** How the calls ended, by the books. */
  mix: Record<string, number>;
  charged: number;
}

/** Makes the calls and looks at the books. The database is to have nothing else in it. */
export async function storm(
  db: Database,
  ai: Ai,
  { calls, seed, atOnce = 24 }: { calls: number; seed: number; atOnce?: number },
): Promise<Findings> {
  const rng = mulberry32(seed);
  const books = await openBooks(db);
  const provider = await startProvider(2);
  const users: string[] = [];
  for (let n = 0; n < 16; n++) {
    users.push(await createUser(db));
    await grant(db, users[n]!, 100_000_000);
  }
  const made: Call[] = Array.from({ length: calls }, (_, n) => ({
    id: `call-${n}`,
    wrapper: wrappers[n % wrappers.length]!,
    isStream: rng() < 0.7,
    fate: rng() < 0.4 ? "runs" : fates[Math.floor(rng() * fates.length)]!,
    leaving: rng() < 0.6 ? "stays" : rng() < 0.5 ? "aborts" : "breaks off",
    input: 1 + Math.floor(rng() * 1_000),
    output: 10 + Math.floor(rng() * 1_000),
    read: 0,
  }));

  let next = 0;
  const lane = async () => {
    for (let n = next++; n < calls; n = next++) {
      // a call that goes on when its caller has gone is a hold that leaks
      const tooLate = new Promise((go) => setTimeout(go, 5_000));
      await Promise.race([make(made[n]!, users[n % users.length]!).catch(() => {}), tooLate]);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  await new Promise((go) => setTimeout(go, 1_000)); // a caller who left does not wait for the settlement
  const { rows: open } = await db.admin.query("select 1 from public.token_holds where status = 'open'");
  const findings: Findings = { leaks: open.length, violations: [], mix: {}, charged: 0 };
  if (open.length === 0) await compare(db, made, findings);
  await provider.close();
  await books.close();
  return findings;

  async function make(call: Call, userId: string): Promise<void> {
    const gone = new AbortController();
    if (call.leaving === "aborts") setTimeout(() => gone.abort(), 4 + (call.output % 10));
    const isLeft = call.leaving === "aborts" || (call.leaving === "breaks off" && call.isStream);
    const leaves = () => call.leaving === "breaks off" && call.read > 0;
    const saw = (text: string | null | undefined) => void (call.read += text?.length ?? 0);
    const options: Wrappers.ChargeOptions = {
      userId,
      graceMs: 200,
      timeoutMs: call.fate === "stalls" && !isLeft ? 150 : 20_000,
      metadata: { call: call.id },
      onSettled: () => {},
    };
    const model = modelOf(call.fate, call.input, call.output);
    const messages = [{ role: "user" as const, content: "When does the tide come in?" }];
    const { signal } = gone;
    const request = { signal, maxRetries: 0 };
    const settings = { apiKey: "k", maxRetries: 0 };
    if (call.wrapper === "anthropic") {
      const client = ai.chargeAnthropic(
        new Anthropic({ ...settings, baseURL: provider.url }),
        books,
        options,
      );
      const asked = { model, messages, max_tokens: 100 };
      if (!call.isStream) return void (await client.messages.create(asked, request));
      for await (const event of await client.messages.create({ ...asked, stream: true }, request)) {
        if (event.type === "content_block_delta" && event.delta.type === "text_delta") saw(event.delta.text);
        if (leaves()) break;
      }
    } else if (call.wrapper === "ai sdk") {
      const inner = createOpenAICompatible({
        name: "local",
        baseURL: `${provider.url}/v1`,
        includeUsage: true,
      })(model);
      const wrapped = wrapLanguageModel({ model: inner, middleware: ai.tokenMiddleware(books, options) });
      const asked = {
        model: wrapped,
        prompt: "When does the tide come in?",
        abortSignal: signal,
        maxRetries: 0,
      };
      if (!call.isStream) return void (await generateText(asked));
      const { textStream } = streamText({ ...asked, onError() {} });
      for await (const text of textStream) {
        saw(text);
        if (leaves()) gone.abort(); // this SDK reads on when its reader breaks off
      }
    } else {
      const client = ai.chargeOpenAI(
        new OpenAI({ ...settings, baseURL: `${provider.url}/v1` }),
        books,
        options,
      );
      if (call.wrapper === "openai responses") {
        const asked = { model, input: "When does the tide come in?" };
        if (!call.isStream) return void (await client.responses.create(asked, request));
        for await (const event of await client.responses.create({ ...asked, stream: true }, request)) {
          if (event.type === "response.output_text.delta") saw(event.delta);
          if (leaves()) break;
        }
        return;
      }
      if (!call.isStream) return void (await client.chat.completions.create({ model, messages }, request));
      for await (const chunk of await client.chat.completions.create(
        { model, messages, stream: true },
        request,
      )) {
        saw(chunk.choices[0]?.delta.content);
        if (leaves()) break;
      }
    }
  }
}

/** What is due for each call beside what was taken for it. */
async function compare(db: Database, made: readonly Call[], findings: Findings): Promise<void> {
  const { rows } = await db.admin.query(
    `select u.metadata ->> 'call' as id, u.metadata ->> 'outcome' as outcome, u.success,
            (u.tokens_used - u.tokens_uncovered)::float8 as tokens
       from public.token_usage u`,
  );
  const usage = new Map<string, { outcome: string; success: boolean; tokens: number }[]>();
  for (const { id, ...row } of rows) usage.set(id, [...(usage.get(id) ?? []), row]);
  const wordsBytes = words.join("").length;
  for (const call of made) {
    const found = usage.get(call.id) ?? [];
    if (found.length > 1) findings.violations.push(`${call.id}: ${found.length} usage rows`);
    const [row] = found;
    const key = row?.outcome ?? "never asked";
    findings.mix[key] = (findings.mix[key] ?? 0) + 1;
    const paid = row?.success ? row.tokens : 0;
    findings.charged += paid;
    const wrong = (due: string) =>
      findings.violations.push(`${call.id} ${JSON.stringify(call)}: ${key}, paid ${paid}, due ${due}`);
    if (key === "completed") {
      if (call.fate !== "runs") wrong("nothing: it cannot have come to its end");
      else if (paid !== call.input + call.output) wrong(String(call.input + call.output));
    } else if (key === "failed" || key === "never asked") {
      if (paid !== 0) wrong("nothing");
      if (call.fate === "runs" && call.leaving === "stays") wrong("all of it");
    } else if (call.read > 0 && paid < Math.ceil(call.read / 4)) wrong(`at least for ${call.read} bytes`);
    else if (paid > Math.max(call.input + call.output, 1_000 + wordsBytes)) wrong("no more than all of it");
  }
  const { rows: totals } = await db.admin.query(
    "select sum(tokens_used)::float8 as used, sum(tokens_reserved)::float8 as held from public.token_accounts",
  );
  if (totals[0].used !== findings.charged || totals[0].held !== 0) {
    findings.violations.push(`accounts: ${JSON.stringify(totals[0])}, charged ${findings.charged}`);
  }
  const { rows: faults } = await db.admin.query("select * from public.verify_token_ledger()");
  for (const fault of faults) findings.violations.push(`verify_token_ledger: ${JSON.stringify(fault)}`);
}

function mulberry32(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
