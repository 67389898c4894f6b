import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  TokenbookError,
  CallTimedOutError,
  type HoldClient,
  type HoldOptions,
  NotSettledError,
  streamWithTokenHold,
  type Usage,
  withTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { grant } from "../../../support/books.ts";
import { createDatabase, type Database } from "../../../support/database.ts";
import { createUser } from "../../../support/roles.ts";
import { letTimePass } from "../../../support/time.ts";
import { type Books, openBooks } from "./books-client.ts";

let db: Database;
let books: Books;
let options: HoldOptions;
/** What the books were asked, in order. */
let asked: string[];
let client: HoldClient;

beforeAll(async () => {
  db = await createDatabase();
  books = await openBooks(db, 4);
});
afterAll(async () => {
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  await books.close();
  await db.drop();
  expect(rows).toEqual([]);
});
beforeEach(async () => {
  const userId = await createUser(db);
  await grant(db, userId, 1_000);
  options = { userId, tokens: 100, actionType: "chat_conversation", patience: { pauseMs: 1 }, graceMs: 50 };
  asked = [];
  client = books.unreliable((name) => void asked.push(name));
});

const hold = async () =>
  (await db.admin.query("select * from public.token_holds where user_id = $1", [options.userId])).rows[0];
const usage = async () =>
  (await db.admin.query("select * from public.token_usage where user_id = $1", [options.userId])).rows;
const forEver = () => new Promise<never>(() => {});

describe("a call", () => {
  test("returns its value and a receipt, after two questions", async () => {
    const { value, receipt } = await withTokenHold(client, options, async ({ report, tokens }) => {
      report({ model: "m", inputTokens: 20, outputTokens: 10 });
      return `held ${tokens}`;
    });
    expect(value).toBe("held 100");
    expect(receipt).toEqual({
      outcome: "completed",
      status: "captured",
      holdId: expect.any(String),
      tokensHeld: 100,
      tokensDeducted: 30,
      tokensOverdrawn: 0,
      tokensUncovered: 0,
      tokensRemaining: 970,
      usageId: expect.any(String),
      transactionId: expect.any(Number),
      costCents: null,
    });
    expect(asked).toEqual(["reserve_tokens", "capture_tokens"]);
  });

  test("that reports nothing costs what was held, and the last report is the one that counts", async () => {
    const silent = await withTokenHold(client, options, async () => {});
    const wordy = await withTokenHold(client, options, async ({ report }) => {
      report({ tokens: 70 });
      report({ tokens: 40 });
    });
    expect([silent.receipt.tokensDeducted, wordy.receipt.tokensDeducted]).toEqual([100, 40]);
  });

  test("that throws costs nothing, throws the same, and leaves a trace", async () => {
    const fault = new Error("out of \0 order");
    const calling = withTokenHold(client, options, async ({ report }) => {
      report({ model: "m", inputTokens: 20, outputTokens: 10 });
      throw fault;
    });
    await expect(calling).rejects.toBe(fault);
    expect(await usage()).toMatchObject([
      { success: false, error_message: "out of  order", input_tokens: "20", metadata: { outcome: "failed" } },
    ]);
    expect(await hold()).toMatchObject({ status: "captured", tokens_captured: "0" });
  });

  test("that ignores its signal is settled all the same, when its grace is over", async () => {
    const gone = new AbortController();
    const begin = performance.now();
    const calling = withTokenHold(client, { ...options, signal: gone.signal }, async ({ report }) => {
      report({ tokens: 12 });
      gone.abort(new Error("gone"));
      return await forEver();
    });
    await expect(calling).rejects.toThrow("gone");
    expect(performance.now() - begin).toBeLessThan(1_000);
    expect(await hold()).toMatchObject({ status: "captured", tokens_captured: "12" });
  });

  test("gets to report its last when it is stopped", async () => {
    const calling = withTokenHold(client, { ...options, timeoutMs: 20 }, async ({ report, signal }) => {
      await new Promise((stopped) => signal.addEventListener("abort", stopped));
      report({ tokens: 33 });
    });
    await expect(calling).rejects.toThrow(CallTimedOutError);
    expect(await hold()).toMatchObject({ tokens_captured: "33" });
  });

  test("whose caller has gone before it began asks the books nothing", async () => {
    const signal = AbortSignal.abort(new Error("gone"));
    const calling = withTokenHold(client, { ...options, signal }, forEver);
    await expect(calling).rejects.toThrow("gone");
    expect(asked).toEqual([]);
  });

  test("whose caller goes while tokens are held is not made, and gives them back", async () => {
    const gone = new AbortController();
    const leaving = books.unreliable((name) => {
      asked.push(name);
      gone.abort(new Error("gone"));
      return undefined;
    });
    const calling = withTokenHold(leaving, { ...options, signal: gone.signal }, forEver);
    await expect(calling).rejects.toThrow("gone");
    expect(asked).toEqual(["reserve_tokens", "release_tokens"]);
    expect([await hold(), await usage()]).toMatchObject([{ status: "released" }, []]);
  });
});

describe("the settlement", () => {
  test("is charged late, once, when the hold was gone", async () => {
    const late = books.unreliable((name) =>
      name === "track_token_usage" && asked.push(name) === 1 ? "answer lost" : undefined,
    );
    const { receipt } = await withTokenHold(late, options, async ({ report, holdId }) => {
      await books.rpc("release_tokens", { p_user_id: options.userId, p_hold_id: holdId });
      report({ model: "m", inputTokens: 20, outputTokens: 10 });
    });
    expect(asked).toHaveLength(2);
    expect(receipt).toMatchObject({ status: "released", tokensDeducted: 30, tokensRemaining: 970 });
    expect(await usage()).toHaveLength(1);
  });

  test("takes what there is when the hold was gone and the tokens too", async () => {
    const { receipt } = await withTokenHold(client, options, async ({ report, holdId }) => {
      const [user, server] = [{ p_user_id: options.userId }, { p_hold_id: holdId }];
      await books.rpc("release_tokens", { ...user, ...server });
      await books.rpc("track_token_usage", {
        ...user,
        p_action_type: "chat_conversation",
        p_tokens_used: 990,
      });
      report({ tokens: 30 });
    });
    expect(receipt).toMatchObject({ tokensDeducted: 10, tokensUncovered: 20, tokensRemaining: 0 });
  });

  test("does not fail for words that cannot be stored", async () => {
    const metadata = { note: "x".repeat(10_000), nul: "\0" };
    const { receipt } = await withTokenHold(client, options, async ({ report }) =>
      report({ model: "m", inputTokens: 20, outputTokens: 10, metadata }),
    );
    expect(receipt).toMatchObject({ status: "captured", tokensDeducted: 30 });
    expect(await usage()).toMatchObject([{ metadata: {} }]);
  });

  test("that cannot be made says so, with the value and what was used", async () => {
    const deaf = books.unreliable((name) => (name === "capture_tokens" ? "lost" : undefined));
    const calling = withTokenHold(deaf, options, async ({ report }) => {
      report({ tokens: 30 });
      return "the answer";
    });
    const error = await calling.catch((it) => it);
    expect(error).toBeInstanceOf(NotSettledError);
    expect(error).toMatchObject({
      userId: options.userId,
      outcome: "completed",
      value: "the answer",
      usage: { tokens: 30 },
      holdId: (await hold()).id,
      cause: expect.any(TokenbookError),
    });
    await books.rpc("release_tokens", { p_user_id: options.userId, p_hold_id: error.holdId });
  });

  test("is handed to the platform, which may stop what nobody waits for", async () => {
    const waitUntil = vi.fn();
    vi.stubGlobal("EdgeRuntime", { waitUntil });
    try {
      await withTokenHold(client, options, async () => {});
    } finally {
      vi.unstubAllGlobals();
    }
    expect(waitUntil).toHaveBeenCalledExactlyOnceWith(expect.any(Promise));
  });
});

describe("a key", () => {
  test("is good for five calls, until one of them is paid for", async () => {
    const made: string[] = [];
    const calling = (key: string, outcome: "fails" | "works") =>
      withTokenHold(client, { ...options, idempotencyKey: key }, async ({ report }) => {
        made.push(`${key} ${outcome}`);
        if (outcome === "fails") throw new Error("down");
        report({ tokens: 10 });
      }).catch((error) => error.message);

    expect(await calling("a", "fails")).toBe("down");
    await calling("a", "works");
    expect(await calling("a", "works")).toBe("a call with that key has been paid for");
    for (let nth = 0; nth < 5; nth++) expect(await calling("b", "fails")).toBe("down");
    expect(await calling("b", "works")).toBe("a call with that key has been paid for");
    expect(made).toEqual(["a fails", "a works", ...Array.from({ length: 5 }, () => "b fails")]);
  });

  test("of a process that died is good again when its hold has run out", async () => {
    const dying = books.unreliable((name) => (name === "capture_tokens" ? "dead" : undefined));
    const mine = { ...options, ttlSeconds: 60, timeoutMs: 500, idempotencyKey: "a" };
    await expect(withTokenHold(dying, mine, async () => {})).rejects.toThrow(NotSettledError);
    await expect(withTokenHold(client, mine, async () => {})).rejects.toThrow("is running");
    await letTimePass(db, options.userId, 1);
    const { receipt } = await withTokenHold(client, mine, async ({ report }) => report({ tokens: 4 }));
    expect(receipt.tokensRemaining).toBe(996);
  });
});

describe("a stream", () => {
  const words = (...all: string[]) =>
    new ReadableStream<string>({
      start(controller) {
        for (const word of all) controller.enqueue(word);
        controller.close();
      },
    });
  const readAll = async (stream: ReadableStream<string>) => {
    let read = "";
    for await (const word of stream as unknown as AsyncIterable<string>) read += word;
    return read;
  };

  test("closes when its hold is settled, with a last word about it", async () => {
    const { stream } = await streamWithTokenHold(
      client,
      options,
      async ({ report }) => {
        report({ tokens: 5 });
        return words("a", "b");
      },
      ({ receipt }) => ` cost ${receipt!.tokensDeducted}`,
    );
    expect(await readAll(stream)).toBe("ab cost 5");
    expect(asked).toEqual(["reserve_tokens", "capture_tokens"]);
  });

  test("that nobody reads is settled when its time is up, and fails for a reader who comes then", async () => {
    const { stream, ended } = await streamWithTokenHold(client, { ...options, timeoutMs: 40 }, async () =>
      words("a"),
    );
    expect(await ended).toMatchObject({ outcome: "timed_out", receipt: { tokensDeducted: 0 } });
    await expect(readAll(stream)).rejects.toThrow(CallTimedOutError);
  });

  test("that cannot be opened throws why, when its hold is settled", async () => {
    const opening = streamWithTokenHold(client, options, async () => {
      throw new Error("no model");
    });
    await expect(opening).rejects.toThrow("no model");
    expect(await hold()).toMatchObject({ status: "captured", tokens_captured: "0" });
  });

  test("fails with what went wrong in making its last word", async () => {
    const { stream, ended } = await streamWithTokenHold(
      client,
      options,
      async () => words("a"),
      () => {
        throw new Error("no words");
      },
    );
    await expect(readAll(stream)).rejects.toThrow("no words");
    expect(await ended).toMatchObject({ outcome: "completed" });
  });

  test("cancelled stops its source, and no last word is made for nobody", async () => {
    const stopped = vi.fn();
    const { stream, ended } = await streamWithTokenHold(client, options, async ({ report, signal }) => {
      report({ tokens: 7 });
      signal.addEventListener("abort", stopped);
      return new ReadableStream<string>({ cancel: stopped });
    });
    await stream.cancel("enough");
    expect(await ended).toMatchObject({
      outcome: "aborted",
      error: "enough",
      receipt: { tokensDeducted: 7 },
    });
    expect(stopped).toHaveBeenCalledTimes(2);
  });
});

describe("what cannot be", () => {
  test.each<[Usage, RegExp]>([
    [{ inputTokens: -1 }, /inputTokens/],
    [{ outputTokens: 0.5 }, /outputTokens/],
    [{ tokens: Number.NaN }, /tokens/],
    [{ tokens: 1e13 }, /tokens/],
    [{ inputTokens: 1, cachedTokens: 2 }, /cachedTokens/],
    [{ reasoningTokens: 2 }, /reasoningTokens/],
    [{ images: 1_000_001 }, /images/],
    [{ seconds: Number.POSITIVE_INFINITY }, /seconds/],
    [{ model: " " }, /model/],
    [{ model: "é".repeat(101) }, /model/],
    [{ model: "\0" }, /model/],
  ])("is not reported: %j", async (reported, message) => {
    const calling = withTokenHold(client, options, async ({ report }) => report(reported));
    await expect(calling).rejects.toThrow(message);
    await expect(calling).rejects.toThrow(RangeError);
  });

  test.each([
    { ttlSeconds: 1 },
    { ttlSeconds: 86_401 },
    { ttlSeconds: 10, timeoutMs: 10_000 },
    { timeoutMs: 0 },
    { graceMs: -1 },
  ])("is not asked for: %j", async (more) => {
    await expect(withTokenHold(client, { ...options, ...more }, forEver)).rejects.toThrow(RangeError);
    expect(asked).toEqual([]);
  });

  test("is refused by the books before the call is made", async () => {
    for (const more of [{ tokens: 0 }, { actionType: "No!" }, { idempotencyKey: "two words" }]) {
      const calling = withTokenHold(client, { ...options, ...more }, forEver);
      await expect(calling).rejects.toThrow(TokenbookError);
    }
    expect(await hold()).toBeUndefined();
  });
});
