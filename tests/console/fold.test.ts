/** A ledger as people read it: one line a call. */
import { describe, expect, test } from "vitest";
import { fold } from "../../console/src/user/fold.ts";
import { byDay, byModel } from "../../console/src/user/usage-sums.ts";
import type { TokenTransaction, UsageBucket } from "../../packages/tokenbook/src/client/index.ts";

/** An entry of a ledger; what is not said is of no matter. */
const entry = (id: number, entry_type: string, its: Partial<TokenTransaction> = {}): TokenTransaction => ({
  id,
  entry_type,
  action_type: entry_type,
  tokens: 0,
  debt_change: 0,
  reserved_change: 0,
  balance_after: 1000,
  allocations: [],
  reason: null,
  actor_role: "user",
  actor_id: null,
  idempotency_key: null,
  usage_id: null,
  hold_id: null,
  parent_hold_id: null,
  original_id: null,
  member_id: null,
  metadata: {},
  created_at: `2026-11-28T12:00:${String(id).padStart(2, "0")}Z`,
  ...its,
});
const hold = (id: number, hold_id: string) =>
  entry(id, "hold", { hold_id, reserved_change: 400, action_type: "chat_conversation", balance_after: 600 });
const capture = (id: number, hold_id: string) =>
  entry(id, "deduction", { hold_id, tokens: -250, reserved_change: -250, balance_after: 600 });
const release = (id: number, hold_id: string) =>
  entry(id, "release", { hold_id, reserved_change: -150, balance_after: 750 });

test("hold, capture and release of one call are one line, named for the call, where the newest of them is", () => {
  const lines = fold([release(5, "a"), capture(4, "a"), entry(3, "grant", { tokens: 9 }), hold(2, "a")]);
  expect(
    lines.map(({ actionType, kind, tokens, held, balanceAfter }) => [
      actionType,
      kind,
      tokens,
      held,
      balanceAfter,
    ]),
  ).toEqual([
    ["chat_conversation", "spent", -250, 0, 750],
    ["grant", "added", 9, 0, 1000],
  ]);
  expect(lines[0]!.entries.map(({ id }) => id)).toEqual([5, 4, 2]);
});

test("an open hold says what is held, and two holds are two lines", () => {
  const lines = fold([hold(2, "b"), hold(1, "a")]);
  expect(lines.map(({ kind, held }) => [kind, held])).toEqual([
    ["held", 400],
    ["held", 400],
  ]);
});

test("what of a call comes with a later page joins its line, which keeps its place and its key", () => {
  const page = [release(5, "a"), capture(4, "a")];
  const [before, after] = [fold(page), fold([...page, hold(2, "a"), entry(1, "grant", { tokens: 9 })])];
  expect(after[0]!.key).toBe(before[0]!.key);
  expect(after.map(({ actionType }) => actionType)).toEqual(["chat_conversation", "grant"]);
  // half of a hold is not "held": what it gave back is known, what it set aside is not yet
  expect(before.map(({ kind, held }) => [kind, held])).toEqual([["spent", 0]]);
});

describe("a budget and its calls", () => {
  const made = (id: number) =>
    entry(id, "hold", { hold_id: "task", reserved_change: 1000, action_type: "agent_run", balance_after: 0 });
  const split = (id: number, hold_id: string) =>
    entry(id, "usage", {
      action_type: "hold_split",
      reason: "chat_conversation",
      hold_id,
      parent_hold_id: "task",
    });
  const paid = (id: number, hold_id: string, tokens: number) =>
    entry(id, "deduction", {
      action_type: "chat_conversation",
      hold_id,
      tokens: -tokens,
      reserved_change: -tokens,
    });
  const back = (id: number, hold_id: string, parent_hold_id: string | null = "task") =>
    entry(id, "usage", { action_type: "hold_return", reason: "not needed", hold_id, parent_hold_id });
  const ended = (id: number, tokens: number) =>
    entry(id, "release", { hold_id: "task", reserved_change: -tokens, balance_after: tokens });

  test("are one line, with what was used of how much, that opens to the calls", () => {
    const lines = fold([
      split(8, "c"),
      paid(7, "b", 300),
      split(6, "b"),
      paid(5, "a", 200),
      back(4, "a"),
      split(3, "a"),
      made(2),
      entry(1, "grant", { tokens: 1000 }),
    ]);
    expect(lines).toMatchObject([
      { key: "hold-task", actionType: "agent_run", kind: "held", tokens: -500, held: 500, budget: 1000 },
      { key: "entry-1", budget: null, calls: [] },
    ]);
    expect(lines[0]!.entries.map(({ id }) => id)).toEqual([2]);
    expect(
      lines[0]!.calls.map(({ key, actionType, kind, tokens, isRunning }) => [
        key,
        actionType,
        kind,
        tokens,
        isRunning,
      ]),
    ).toEqual([
      ["hold-c", "chat_conversation", "held", 0, true],
      ["hold-b", "chat_conversation", "spent", -300, false],
      ["hold-a", "chat_conversation", "spent", -200, false],
    ]);
  });

  test("end as what was spent; a call that used nothing is neither running nor spent", () => {
    const [line] = fold([
      ended(6, 800),
      paid(5, "b", 200),
      split(4, "b"),
      back(3, "a"),
      split(2, "a"),
      made(1),
    ]);
    expect(line).toMatchObject({ kind: "spent", tokens: -200, held: 0, budget: 1000, balanceAfter: 800 });
    expect(line!.entries.map(({ id }) => id)).toEqual([6, 1]);
    expect(line!.calls.map(({ kind, isRunning }) => [kind, isRunning])).toEqual([
      ["spent", false],
      ["other", false],
    ]);
    // one that has passed everything on ends with a return of nothing, to nobody
    expect(fold([back(3, "task", null), split(2, "a"), made(1)])[0]!.entries.map(({ id }) => id)).toEqual([
      3, 1,
    ]);
  });

  test("whose entries are on a later page join their line when these come", () => {
    const page = [ended(6, 500), paid(5, "b", 300), split(4, "b"), paid(3, "a", 200)];
    // nobody has said yet that the last call is a part of the task, nor what the task was made with
    expect(fold(page).map(({ key, tokens, budget }) => [key, tokens, budget])).toEqual([
      ["hold-task", -300, null],
      ["hold-a", -200, null],
    ]);
    expect(
      fold([...page, split(2, "a"), made(1)]).map(({ key, tokens, budget }) => [key, tokens, budget]),
    ).toEqual([["hold-task", -500, 1000]]);
  });

  test("of another task are another line, and every entry is in one line", () => {
    const other = split(9, "z");
    const all = [
      { ...other, parent_hold_id: "other" },
      split(4, "b"),
      paid(3, "a", 200),
      split(2, "a"),
      made(1),
    ];
    const lines = fold(all);
    expect(lines.map(({ key }) => key)).toEqual(["hold-other", "hold-task"]);
    const ids = lines.flatMap(({ entries, calls }) =>
      [...entries, ...calls.flatMap((call) => call.entries)].map(({ id }) => id),
    );
    expect(ids.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 9]);
  });
});

test("what was given back by itself is called a refund, and an overdraft says what is owed", () => {
  const lines = fold([
    entry(3, "refund", { tokens: 5, action_type: "chat_conversation" }),
    entry(2, "debt_repayment", { tokens: -20, debt_change: -20 }),
    entry(1, "deduction", { tokens: -30, debt_change: 70, action_type: "chat_conversation" }),
  ]);
  expect(lines.map(({ actionType, owed }) => [actionType, owed])).toEqual([
    ["refund of chat_conversation", 0],
    ["debt_repayment", -20],
    ["chat_conversation", 70],
  ]);
});

test("entries by themselves are what their tokens say", () => {
  const kinds = fold([
    entry(6, "usage"),
    entry(5, "expiry", { tokens: -5 }),
    entry(4, "refund", { tokens: 5 }),
    entry(3, "rollover", { tokens: -5 }),
    entry(2, "deduction", { tokens: -5 }),
    entry(1, "void"),
  ]).map(({ kind }) => kind);
  expect(kinds).toEqual(["spent", "lost", "added", "lost", "spent", "other"]);
});

const bucket = (day: string, model: string | null, tokens: number, its: Partial<UsageBucket> = {}) =>
  ({ starts_at: `2026-11-${day}T00:00:00+00:00`, model, tokens, uses: 1, ...its }) as UsageBucket;

test("usage is summed by model, most first, and by day without holes", () => {
  const rows = [bucket("01", "a", 5), bucket("01", null, 3), bucket("03", "b", 20), bucket("03", "a", 2)];
  expect(byModel(rows).map(({ model, uses, tokens }) => [model, uses, tokens])).toEqual([
    ["b", 1, 20],
    ["a", 2, 7],
    ["Without a model", 1, 3],
  ]);
  expect(byDay(rows, "2026-11-01T00:00:00.000Z", 3)).toEqual([
    { day: "2026-11-01", a: 5, "Without a model": 3 },
    { day: "2026-11-02" },
    { day: "2026-11-03", b: 20, a: 2 },
  ]);
});

test("a cost is said where the report says one", () => {
  expect(byModel([bucket("01", "a", 5)])[0]!.cents).toBeNull();
  expect(
    byModel([bucket("01", "a", 5, { cost_cents: 2 }), bucket("02", "a", 5, { cost_cents: 0.5 })])[0]!.cents,
  ).toBe(2.5);
  const unknown = bucket("03", "a", 5, { cost_cents: 0, uses_without_cost: 1 });
  expect(byModel([unknown])[0]!.cents).toBeNull();
  expect(byModel([unknown, bucket("04", "a", 5, { cost_cents: 3 })])[0]!.cents).toBe(3);
});

test("a hold that says no action is a hold until something of it is taken, and a deduction then", () => {
  const plain = entry(1, "hold", { hold_id: "a", reserved_change: 400, action_type: "deduction" });
  const named = (...entries: TokenTransaction[]) => fold(entries).map(({ actionType }) => actionType);
  expect(named(plain)).toEqual(["hold"]);
  expect(named(release(2, "a"), plain)).toEqual(["hold"]);
  expect(named(release(3, "a"), capture(2, "a"), plain)).toEqual(["deduction"]);
});
