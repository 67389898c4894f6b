/** Random commands for the books. */
import fc from "fast-check";
import type { Grant, Use } from "./reference.ts";

export type Command =
  | {
      do: "grant";
      tokens: number;
      priority: number;
      lifetime: number | null;
      backdated: number;
      paysFor: Grant["paysFor"];
      key: Key;
    }
  | {
      do: "promise";
      tokens: number;
      priority: number;
      begins: number;
      lifetime: number | null;
      paysFor: Grant["paysFor"];
      key: Key;
    }
  | { do: "call off"; promise: number; key: Key }
  | { do: "deduct"; tokens: number; action: string; key: Key }
  | {
      do: "track";
      tokens: number;
      success: boolean;
      shortage: "reject" | "partial" | "overdraft";
      use: Use;
      key: Key;
    }
  | { do: "allow"; tokens: number }
  | { do: "reserve"; tokens: number; ttl: number; use: Use; key: Key }
  | { do: "split"; hold: number; tokens: number; ttl: number; use: Use; key: Key }
  | {
      do: "capture";
      hold: number;
      tokens: number | null;
      over: "deduct" | "partial" | "overdraft" | "cap" | "reject";
      success: boolean;
    }
  | { do: "release"; hold: number }
  | { do: "refund"; transaction: number; tokens: number | null; days: number | null; key: Key }
  | { do: "expiry"; grant: number; seconds: number | null }
  | { do: "void"; grant: number; takeBack: boolean; key: Key }
  | { do: "adjust"; delta: number; key: Key }
  | { do: "batch"; items: { tokens: number; key: Key }[]; allOrNothing: boolean }
  | { do: "ask"; plan: string; key: Key }
  | { do: "approve"; payment: number }
  | { do: "reject"; payment: number }
  | { do: "pay back"; payment: number; share: number | null }
  | { do: "change"; plan: string; key: Key }
  | { do: "renew"; period: "this" | null }
  | {
      do: "event";
      payment: number;
      kind: "paid" | "refund" | "refunded" | "dispute";
      /** Of the refund or dispute. */
      id: number;
      /** How it stands: in the order of `statuses`. */
      status: number;
      /** When it happened there, in seconds. */
      at: number;
      plan: string;
      period: "this" | "next" | null;
      /** Null: left out. */
      cents: number | null;
    }
  | { do: "event again"; nth: number }
  | { do: "step"; seconds: number }
  | { do: "again"; nth: number }
  | { do: "sweep" }
  | { do: "look" };
export type Key = string | null;

/** How a refund or a dispute may stand; of two in one moment the one further to the right is the later. */
export const statuses = {
  refund: ["pending", "succeeded", "canceled", "failed"],
  dispute: ["inquiry", "open", "won", "lost"],
} as const;

const key = fc.oneof(
  { weight: 4, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom("k1", "k2", "k3", "k4", "k5", "k6") },
);
const few = fc.integer({ min: 1, max: 150 });

const action = fc.constantFrom("chat_conversation", "chat_conversation", "image_generation");
const use: fc.Arbitrary<Use> = fc.oneof(
  fc.record({ action }),
  fc.record({ action, model: fc.constantFrom("small-1", "large-1") }),
);

const plan = fc.constantFrom("starter", "starter", "pro", "pro", "free", "gold");

const paysFor = fc.constantFrom<Grant["paysFor"][]>(
  null,
  null,
  null,
  null,
  null,
  { actions: ["image_generation"] },
  { actions: ["chat_conversation"], models: ["small-*", "other"] },
  { models: ["large-1"] },
);

/** What is done with tokens, and time. */
export const aboutTokens: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("grant" as const),
      tokens: fc.integer({ min: 1, max: 400 }),
      priority: fc.constantFrom(50, 50, 10, 90),
      lifetime: fc.constantFrom(null, null, 1_000, 2_000, 4_000),
      backdated: fc.constantFrom(0, 0, 0, 300),
      paysFor,
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("promise" as const),
      tokens: fc.integer({ min: 1, max: 400 }),
      priority: fc.constantFrom(50, 50, 10, 90),
      begins: fc.constantFrom(400, 800, 1_300, 86_000),
      lifetime: fc.constantFrom(null, null, 1_000, 4_000),
      paysFor,
      key,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("call off" as const), promise: fc.nat(5), key }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("deduct" as const), tokens: few, action, key }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("track" as const),
      tokens: few,
      success: fc.constantFrom(true, true, false),
      shortage: fc.constantFrom("reject" as const, "partial" as const, "overdraft" as const),
      use,
      key,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("reserve" as const),
      tokens: few,
      ttl: fc.constantFrom(600, 1_500),
      use,
      key,
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant("split" as const),
      hold: fc.nat(20),
      tokens: few,
      ttl: fc.constantFrom(600, 1_500),
      use,
      key,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("capture" as const),
      hold: fc.nat(20),
      tokens: fc.option(fc.integer({ min: 0, max: 180 })),
      over: fc.constantFrom(
        "deduct" as const,
        "partial" as const,
        "overdraft" as const,
        "cap" as const,
        "reject" as const,
      ),
      success: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), hold: fc.nat(20) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("allow" as const), tokens: fc.constantFrom(0, 60, 400, 400) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("refund" as const),
      transaction: fc.nat(60),
      tokens: fc.option(fc.integer({ min: 1, max: 60 })),
      days: fc.option(fc.constantFrom(1, 30)),
      key,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("expiry" as const),
      grant: fc.nat(20),
      seconds: fc.constantFrom(0, 400, 3_000, 40_000, 9_000_000, null),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("void" as const),
      grant: fc.nat(20),
      takeBack: fc.boolean(),
      key,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("adjust" as const),
      delta: fc.oneof(fc.integer({ min: 1, max: 80 }), fc.integer({ min: -80, max: -1 })),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("step" as const),
      seconds: fc.constantFrom(
        500,
        500,
        500,
        1_000,
        1_000,
        1_500,
        86_400,
        14 * 86_400,
        28 * 86_400,
        28 * 86_400,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("batch" as const),
      items: fc.array(fc.record({ tokens: few, key }), { minLength: 1, maxLength: 4 }),
      allOrNothing: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("again" as const), nth: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const) }) },
);

/** What is done with plans and payments. */
export const aboutPlans: fc.Arbitrary<Command> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ask" as const), plan, key }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("approve" as const), payment: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reject" as const), payment: fc.nat(5) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("pay back" as const),
      payment: fc.nat(5),
      share: fc.constantFrom(null, 0.25, 0.5, 1, 1.5),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("change" as const), plan, key }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("renew" as const),
      period: fc.constantFrom("this" as const, null, null, null),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant("event" as const),
      payment: fc.nat(1),
      kind: fc.constantFrom("paid", "paid", "paid", "refund", "refund", "refunded", "dispute", "dispute"),
      id: fc.nat(1),
      status: fc.nat(3),
      at: fc.nat(9),
      plan: fc.constantFrom("starter", "pro"),
      period: fc.constantFrom(null, null, "this" as const, "next" as const),
      cents: fc.constantFrom(null, 250, 450, 900, 1_950, 3_900),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("event again" as const), nth: fc.nat(20) }) },
);

export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 2, arbitrary: aboutTokens },
  { weight: 1, arbitrary: aboutPlans },
);
