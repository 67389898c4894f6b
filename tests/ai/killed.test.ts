// @module-tag proof
/** A chat with the AI SDK, charged by the packed package, whose server is killed at every moment. */
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { asHere, installed, packOnly } from "../install/packed.ts";
import { startApiProcess } from "../proofs/faults/killable-api.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { takeTheClock } from "../support/clock.ts";
import { diceFor, seed } from "../support/dice.ts";
import { createUser } from "../support/roles.ts";
import {
  cost,
  type Findings,
  granted,
  killServers,
  type Line,
  model,
  moments,
  startServer,
  type Turn,
} from "./killed.ts";
import { startProvider } from "./provider.ts";

const kills = Number(process.env["KILLS"] ?? 100);
const program = join(projectRoot, "tests/ai/chat.mjs");

let packed: Awaited<ReturnType<typeof packOnly>>;
let folder: string;
beforeAll(async () => {
  packed = await packOnly();
  const sdks = asHere("ai", "@ai-sdk/openai-compatible", "@supabase/supabase-js");
  folder = await installed(packed.archive, ...sdks);
}, 300_000);
afterAll(async () => {
  await rm(folder, { recursive: true });
  await packed.remove();
});

async function killed(forced: number, random: number): Promise<Findings & { seconds: number }> {
  const stack = await startStack();
  const begin = performance.now();
  try {
    const findings = await killServers(stack, folder, { forced, random, dice: diceFor(0) });
    return { ...findings, seconds: (performance.now() - begin) / 1000 };
  } finally {
    await stack.close();
  }
}

test("however a server dies, no token is lost, and a turn that is asked for again is paid for once", async () => {
  await copyFile(program, join(folder, "chat.mjs"));
  const {
    leaks,
    kills: done,
    twice,
    violations,
    mix,
    seconds,
  } = await killed(Math.ceil(kills / 2), Math.floor(kills / 2));
  console.log(
    `${leaks} leaks of ${done} kills: twice=${twice} violations=${violations.length} ` +
      `left=${JSON.stringify(mix)} seed=${seed} seconds=${seconds.toFixed(1)}`,
  );
  expect(violations).toEqual([]);
  expect([leaks, twice]).toEqual([0, 0]);
  // or it would have proved less than it says
  for (const left of ["nothing", "open", "captured"]) expect(mix[left], left).toBeGreaterThan(0);
}, 600_000);

describe("a turn", () => {
  let [stack, turn]: [Stack, Turn] = [undefined!, undefined!];
  beforeEach(async () => {
    await copyFile(program, join(folder, "chat.mjs"));
    stack = await startStack();
    const userId = await createUser(stack.db);
    await grant(stack.db, userId, granted);
    turn = { userId, key: crypto.randomUUID(), model };
  });
  afterEach(async () => {
    await expectCleanBooks(stack.db);
    await stack.close();
  });

  const account = async () => {
    const { rows } = await stack.db.admin.query(
      "select tokens_used::float8 as used, tokens_reserved::float8 as held from public.token_accounts where user_id = $1",
      [turn.userId],
    );
    return rows[0] as { used: number; held: number };
  };
  /** What a server says in the end that answers the turn by this API and this provider. */
  const answered = async (url: string, modelUrl: string, patience?: object) => {
    const { secretKey } = stack.keys;
    const server = startServer(folder, [turn], { url, secretKey, modelUrl, ...(patience && { patience }) });
    await server.said(() => false);
    return Object.assign({}, ...server.lines) as Line;
  };

  test.each([
    { how: "comes back: it is paid for once", patience: { attempts: 20 }, comesBack: true },
    {
      how: "stays away: it is told what was used, and its hold runs out",
      patience: { attempts: 2, pauseMs: 1 },
      comesBack: false,
    },
  ])("in whose middle the API is killed and $how", async ({ patience, comesBack }) => {
    const setClock = await takeTheClock(stack.db);
    let api = await startApiProcess(stack.db, stack.keys);
    const { url } = api;
    const start = () => startApiProcess(stack.db, stack.keys, Number(new URL(url).port));
    let died = false;
    let starting: ReturnType<typeof start> | undefined;
    const provider = await startProvider(5, async (step) => {
      if (step === 2 && !died) died = api.child.kill("SIGKILL");
      if (step === "counted" && comesBack) starting ??= start();
    });
    try {
      const said = await answered(url, provider.url, patience);
      api = await (starting ?? start());
      expect(said).toMatchObject({ end: "answered", outcome: "completed" });
      if (!comesBack) {
        expect(said.notSettled).toMatchObject({ inputTokens: 20, outputTokens: 10 });
        expect(await account()).toMatchObject({ used: 0, held: expect.toSatisfy((it) => it > cost) });
        await setClock(new Date(Date.now() + 3_600_000).toISOString());
        expect(await answered(url, provider.url)).toMatchObject({ end: "answered" });
      }
      expect(await account()).toEqual({ used: cost, held: 0 });
      expect(await answered(url, provider.url)).toMatchObject({
        end: "call_already_made",
        status: "settled",
      });
    } finally {
      api.child.kill("SIGKILL");
      await provider.close();
    }
  });

  test("in whose middle the provider dies costs nothing, and is paid for once when it is asked for again", async () => {
    const dying = await startProvider(5, async (step) => {
      if (step === 2) await dying.close();
    });
    expect(await answered(stack.url, dying.url)).toMatchObject({ outcome: "failed", end: "failed" });
    expect(await account()).toEqual({ used: 0, held: 0 });
    expect(await answered(stack.url, dying.url)).toMatchObject({ end: "failed" }); // nobody is there
    const provider = await startProvider();
    expect(await answered(stack.url, provider.url)).toMatchObject({ end: "answered" });
    expect(await account()).toEqual({ used: cost, held: 0 });
    await provider.close();
  });
});

/** What a server has that takes all at once and gives back what was not used. */
const prepaying = `
const charging = (userId, key) => ({
  specificationVersion: "v3",
  async wrapStream({ doStream }) {
    const { data } = await books.rpc("deduct_tokens_with_fifo", { p_user_id: userId, p_tokens_to_deduct: 130, p_idempotency_key: key });
    if (data.replayed) throw Object.assign(new Error(), { code: "call_already_made", holdStatus: "settled" });
    const { stream, ...rest } = await doStream();
    const flush = () => books.rpc("refund_tokens", { p_user_id: userId, p_transaction_id: data.transaction_id, p_tokens: 100 });
    return { ...rest, stream: stream.pipeThrough(new TransformStream({ flush })) };
  },
});`;

test.each<{ name: string; change: (program: string) => string; sees: "leaks" | "twice" }>([
  {
    name: "makes a key for each try",
    change: (it) => it.replace('"Idempotency-Key": key', '"Idempotency-Key": crypto.randomUUID()'),
    sees: "twice",
  },
  {
    name: "takes what a turn may cost, and gives the rest back after it",
    change: (it) => it.replace(/\nconst charging = [^]+?\n\s+}\);/, prepaying),
    sees: "leaks",
  },
])(
  "the test sees it: a server that $name",
  async ({ name, change, sees }) => {
    const right = await readFile(program, "utf8");
    const wrong = change(right);
    expect(wrong).not.toBe(right);
    await writeFile(join(folder, "chat.mjs"), wrong);
    const findings = await killed(moments.length, 0);
    const { leaks, twice, violations } = findings;
    console.log(
      `known-bad server that ${name}: leaks=${leaks} twice=${twice} violations=${violations.length}`,
    );
    expect(findings[sees]).toBeGreaterThan(0);
  },
  300_000,
);
