/** What `useTokenbook` tells the hooks: that something may have changed, when it has, and not when it has not. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Tokenbook } from "../../packages/tokenbook/src/client/index.ts";
import { announcing } from "../../packages/tokenbook/src/react/announcing.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { booksOf } from "../package/books.ts";
import { grant } from "../support/books.ts";

let stack: Stack;
let books: Tokenbook;
let told = 0;

beforeAll(async () => {
  stack = await startStack();
  const { id, headers } = await stack.user();
  await grant(stack.db, id, 1_000);
  books = announcing(booksOf(stack, { headers }), () => (told += 1));
});
afterAll(() => stack.close());

/** How often it was told during this. */
async function toldBy(work: () => Promise<unknown>): Promise<number> {
  told = 0;
  await work();
  return told;
}

test("a read is not announced, to any user", async () => {
  expect(await toldBy(() => books.balance())).toBe(0);
  expect(await toldBy(() => books.quote({ actionType: "chat_conversation", tokens: 5 }))).toBe(0);
  expect(await toldBy(() => books.history().page())).toBe(0);
  expect(await toldBy(() => books.packs.list())).toBe(0);
  expect(await toldBy(() => books.plans.current())).toBe(0);
  expect(await toldBy(() => books.upcomingGrants())).toBe(0);
});

test("a call that changes something is told of when it is over, also when it failed", async () => {
  expect(await toldBy(() => books.deduct(5))).toBe(1);
  expect(await toldBy(() => books.deduct(-5).catch(() => {}))).toBe(1);
  const topUp = { isEnabled: false };
  expect(await toldBy(() => books.topUp.set(topUp))).toBe(1);
  const hold = { tokens: 10, actionType: "chat_conversation" };
  expect(await toldBy(() => books.withTokenHold(hold, () => Promise.resolve()))).toBe(1);
});

test("a stream is told of when its tokens are held, and when it is paid for", async () => {
  const { stream, ended } = await books.streamWithTokenHold(
    { tokens: 10, actionType: "chat_conversation" },
    () => Promise.resolve(new Response("Twice.").body!),
  );
  const before = told;
  expect(before).toBeGreaterThan(0);
  await new Response(stream).text();
  await ended;
  await expect.poll(() => told).toBe(before + 1);
});
