/** Arguments for any function of the API: what it takes, and whatever else somebody might send. */
import { callablesOf, type Parameter } from "./calls.ts";
import type { Database } from "./database.ts";
import type { Dice } from "./dice.ts";

/** A function of `public`, as the catalogue has it. */
export interface ApiFunction {
  name: string;
  parameters: Pick<Parameter, "name" | "type" | "isRequired">[];
}

/** Every function that a client can name. What is added to the schema is in here at once. */
export async function apiFunctions(db: Database): Promise<ApiFunction[]> {
  const all = await callablesOf(db);
  return all
    .filter(({ schema }) => schema === "public")
    .map(({ name, parameters }) => ({ name: name.replace("public.", ""), parameters }));
}

/** An array in arrays in arrays. */
export const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const nestedObjects = (depth: number) => '{"a":'.repeat(depth) + "0" + "}".repeat(depth);

/** When something of what is right has happened. */
const moment = "2026-01-01T00:00:00Z";

/** JSON values that are wrong somewhere, as they are written: JSON can say more than JavaScript can hold. */
const anything = (dice: Dice): string =>
  dice.any<() => string>([
    () => "null",
    () => dice.any(["true", "false"]),
    () => dice.any(["0", "-0", "-1", "1", "-50", "1.5", "1e3", "1E400", "-1e-400", "1.0"]),
    () => dice.any(["2147483647", "2147483648", "-2147483649", "9007199254740992", "1000000000001"]),
    () => dice.any(["9223372036854775807", "9223372036854775808", "-9223372036854775808", "1".repeat(400)]),
    () => dice.any(['"NaN"', '"Infinity"', '"-Infinity"', '"0x10"', '"1_000"', '"٣"', '" 7 "']),
    () =>
      dice.any([
        '""',
        '" "',
        '"\\n"',
        '"\\t\\r"',
        '"two words"',
        '"a\\nb: c"',
        '"%00"',
        '"../../etc/passwd"',
      ]),
    () =>
      dice.any([
        '"nul\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u202e"',
        '"e\\u0301"',
        '"\\ufeff"',
        '"𝟙🎟"',
      ]),
    () =>
      dice.any([`"'; drop table token_accounts; --"`, '"$1"', '"%s%n"', '"{{7*7}}"', '"\\\\"', '"<script>"']),
    () =>
      dice.any(['"infinity"', '"-infinity"', '"soon"', '"2026-13-41"', '"2999-01-01"', '"0001-01-01 BC"']),
    () => dice.any(['"294277-01-01"', '"4714-11-23 BC"', '"2026-01-01T00:00:00+99:00"', '"epoch"', '"now"']),
    () =>
      dice.any([
        '"2026-01-01T00:00:00+99"',
        '"2026-01-01T00:00:00+15:60"',
        '"2026-01-01 00:00 Foo/Bar"',
        `0.${"1".repeat(16_383)}`,
      ]),
    () =>
      dice.any(['"00000000-0000-0000-0000-000000000000"', '"{0}"', '"urn:uuid:1"', `"${"f".repeat(36)}"`]),
    () =>
      dice.any([
        "[]",
        "[null]",
        "[[]]",
        '["a"]',
        "[1,2]",
        '{"0":1}',
        "{}",
        '{"":""}',
        '{"__proto__":{"a":1}}',
      ]),
    () =>
      dice.any(['{"a":1,"a":2}', '{"a":1e400}', '{"a":"\\u0000"}', '{"user_id":"x","tokens":-1}', "[{}]"]),
    () => nested(dice.any([2, 60, 900])),
    () => nestedObjects(dice.any([2, 100, 400])),
    () => `"${dice.noise(dice.any([64, 65, 255, 256, 501, 2_001, 8_193, 12_000]))}"`,
    () => `"${"é".repeat(dice.any([32, 128, 250, 500]))}"`,
    () => `{"a":"${dice.noise(dice.any([8_000, 9_000]))}"}`,
    () => `[${Array.from({ length: dice.any([100, 1_001]) }, () => "{}").join(",")}]`,
    () => `"${"k".repeat(dice.chance(0.1) ? 900_000 : 30_000)}"`,
  ])();

/** A value that its type takes, and that is wrong all the same more often than not. */
function unfit(type: string, dice: Dice): string {
  switch (type) {
    case "uuid":
      return dice.any(["null", '"00000000-0000-0000-0000-000000000000"', `"${"f".repeat(32)}"`]);
    case "bigint":
    case "integer":
    case "smallint":
    case "numeric":
      return dice.any([
        "null",
        "0",
        "-1",
        "-50",
        "101",
        "201",
        "10001",
        "2147483647",
        "-2147483648",
        ...(type === "bigint" || type === "numeric"
          ? [
              "1000000000001",
              "-1000000000001",
              "9007199254740992",
              "9223372036854775807",
              "-9223372036854775808",
            ]
          : []),
        ...(type === "numeric"
          ? ['"NaN"', '"Infinity"', "1e300", "0.000001", `0.${"1".repeat(16_383)}`]
          : []),
      ]);
    case "boolean":
      return "null";
    case "timestamp with time zone":
    case "date":
      return dice.any([
        '"infinity"',
        '"-infinity"',
        '"0001-01-01 BC"',
        '"294276-12-31"',
        '"2020-01-01"',
        "null",
      ]);
    case "jsonb":
    case "json":
      return dice.any<() => string>([
        () =>
          dice.any(["null", "[]", "7", '"text"', "[{}]", '[{"user_id":1}]', '{"tokens":"x","p_tokens":[]}']),
        () => `{"a":"${dice.noise(dice.any([8_000, 9_000]))}"}`,
        () => `[${Array.from({ length: dice.any([100, 1_001]) }, () => '{"tokens":-1}').join(",")}]`,
        () => nestedObjects(dice.any([100, 900])),
        () =>
          `{"kind":"paid","amount_cents":${dice.any(["-1", "1e300", '"x"', "null", "9223372036854775808"])}}`,
      ])();
    default:
      return dice.any<() => string>([
        () =>
          dice.any([
            "null",
            '""',
            '" "',
            '"\\n"',
            '"two words"',
            '"Upper"',
            '"ключ"',
            '"a\\u0001b"',
            `"' or 1=1 --"`,
          ]),
        () => `"${dice.noise(dice.any([65, 256, 501, 4_000, 12_000]))}"`,
        () => `"${"é".repeat(dice.any([32, 128, 251, 500]))}"`,
        () => dice.any(['"grant"', '"admin_grant"', '"subscription_grant"', '"null"', '"undefined"', '"-1"']),
      ])();
  }
}

/** What a call needs to get past the arguments that are right. */
export interface Known {
  user: string;
  /** Somebody else, and nobody. */
  others: readonly string[];
  /** Ids of what the user has: grants, holds, payments. */
  ids: readonly string[];
}

/** A value that may be right, by the parameter's name and type. */
function fitting(name: string, type: string, { user, others, ids }: Known, dice: Dice): string {
  const words = goodWords[name.replace(/^p_/, "")];
  if (words !== undefined) return JSON.stringify(dice.any(words));
  switch (type) {
    case "uuid":
      if (/user_id/.test(name)) return JSON.stringify(dice.chance(0.9) ? user : dice.any(others));
      return JSON.stringify(dice.any([...ids, ...others, user]));
    case "bigint":
    case "integer":
    case "smallint":
    case "numeric":
      return String(dice.any([1, 1, 1, 2, 5, 30, 200]));
    case "boolean":
      return dice.any(["true", "false"]);
    case "timestamp with time zone":
    case "date":
      return JSON.stringify(dice.any(["2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "infinity"]));
    case "jsonb":
    case "json":
      return dice.any(["{}", '{"ticket":7}', "[]", `[{"user_id":"${user}","tokens":1}]`]);
    case "text":
      return JSON.stringify(dice.any(["x", "k-1", `key-${dice.noise(6)}`]));
    default:
      return type.endsWith("[]") ? `["${dice.any([user, ...ids])}"]` : '"x"';
  }
}

/** Words that open doors; a parameter that is not here gets what its type suggests. */
const goodWords: Record<string, readonly string[]> = {
  grant_type: ["purchase", "admin", "trial"],
  action_type: ["chat_conversation", "image_generation"],
  plan_type: ["starter", "free", "professional"],
  to_plan: ["starter", "professional"],
  burn_order: ["fifo", "expiring_first"],
  over_capture: ["deduct", "partial", "cap", "reject"],
  on_shortage: ["reject", "partial"],
  window: ["day", "week", "month"],
  provider: ["stripe", "paypal"],
  kind: ["dropped", "depleted", "expiring_soon"],
  outcome: ["done", "failed"],
  expired_policy: ["forfeit", "reissue"],
  action: ["create", "approve", "reject", "refund", "assign"],
  model: ["refuses"],
  model_used: ["gpt-4o-mini", "no-such-model"],
};

/** Objects that some parameters take, right as they are: of each kind one or two. */
export const goodObjects: Record<string, Record<string, unknown>[]> = {
  p_facts: [
    {
      kind: "paid",
      plan_type: "starter",
      amount_cents: 900,
      currency: "usd",
      period_start: moment,
      parts: ["pi-part-NTH"],
    },
    {
      kind: "paid",
      pack_type: "small",
      quantity: 1,
      user_id: "00000000-0000-4000-8000-000000000001",
      customer_id: "cus_1",
      price_id: "price_1",
      subscription_id: "sub_1",
      parked_reason: "quantity",
      parked_details: { quantity: 1 },
    },
    { kind: "refund", refund_id: "r", status: "succeeded", amount_cents: 5 },
    { kind: "refunded", refunded_cents: 5, amount_cents: 900 },
    { kind: "credit", credit_id: "c", amount_cents: 1 },
    { kind: "dispute", dispute_id: "d", status: "open", amount_cents: 5 },
    {
      kind: "subscription",
      status: "active",
      plan_type: "starter",
      cancel_at: moment,
      current_period_end: moment,
    },
  ].map((facts) => ({ occurred_at: moment, ...facts })),
  p_plan: [
    {
      name: "A plan",
      tokens: 5,
      price_cents: 1,
      is_default: false,
      given_to_users_since: moment,
      rank: 1,
      features: {},
    },
  ],
  p_pack: [{ name: "A pack", tokens: 5, price_cents: 1, is_active: true }],
  p_price: [{ input_cents_per_million: 1, output_cents_per_million: 1.5, cents_per_minute: 2 }],
  p_cost: [{ min_tokens: 1, max_tokens: 2 }],
  p_terms: [{ lifetime_hours: 24, priority: 5 }],
};

/** An object that is right but for one field: one of its own, or one that another of them has. */
function nearlyRight(objects: Record<string, unknown>[], dice: Dice): string {
  const object = dice.any(objects);
  const field = dice.any(Object.keys(dice.chance(0.6) ? object : dice.any(objects)));
  const others = Object.entries(object)
    .filter(([name]) => name !== field)
    .map(([name, value]): [string, string] => [name, JSON.stringify(value)]);
  return objectOf([...others, [field, anything(dice)]]);
}

const bad = (type: string, dice: Dice) => (dice.chance(0.6) ? unfit(type, dice) : anything(dice));

/** One call. */
export interface BadCall {
  name: string;
  /** The JSON object of its arguments, as it is sent. */
  json: string;
  names: string[];
}

/** Makes calls, most of them wrong in one place, some in many, a few (by accident) in none. */
export function badCall(fn: ApiFunction, known: Known, dice: Dice): BadCall {
  const given = fn.parameters.filter(({ isRequired }) => isRequired || dice.chance(0.4));
  if (given.length < fn.parameters.length && given.length === 0) given.push(dice.any(fn.parameters));
  const wrong = new Set([dice.any(given), ...(dice.chance(0.2) ? [dice.any(given), dice.any(given)] : [])]);
  const args = given.map((parameter): [string, string] => [
    parameter.name,
    argumentFor(parameter, wrong.has(parameter), known, dice),
  ]);
  return { name: fn.name, json: objectOf(args), names: args.map(([name]) => name) };
}

function argumentFor(
  { name, type }: ApiFunction["parameters"][number],
  isWrong: boolean,
  known: Known,
  dice: Dice,
): string {
  const objects = goodObjects[name];
  if (objects !== undefined && isWrong && dice.chance(0.8)) return nearlyRight(objects, dice);
  if (isWrong) return bad(type, dice);
  return objects === undefined ? fitting(name, type, known, dice) : JSON.stringify(dice.any(objects));
}

/** A request body for an edge function, from the fields that its source names. */
export function badBody(fields: readonly string[], known: Known, dice: Dice): string {
  if (fields.length === 0 || dice.chance(0.15)) return dice.chance(0.3) ? noJson(dice) : anything(dice);
  const given = fields.filter(() => dice.chance(0.6));
  const wrong = new Set([dice.any(fields), ...(dice.chance(0.2) ? [dice.any(fields)] : [])]);
  const args = [...new Set([...given, ...wrong])].map((name): [string, string] => [
    name,
    wrong.has(name) ? bad(typeOf(name), dice) : fitting(sqlName(name), typeOf(name), known, dice),
  ]);
  if (dice.chance(0.1)) args.push([dice.any(["__proto__", "constructor", "toString", "admin", ""]), "{}"]);
  return objectOf(args);
}

/** Texts that are no JSON, or hardly. */
export function noJson(dice: Dice): string {
  return dice.any([
    "",
    "{",
    "}",
    "[1,",
    "undefined",
    "{'a':1}",
    "userId=1",
    "<xml/>",
    "{}{}",
    '"',
    "\0",
    "NaN",
    "﻿{}",
    "{} trailing",
    '{"a":1,}',
    "// c\n{}",
    nested(5e4),
    "[".repeat(5e4),
  ]);
}

const sqlName = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What a field of a request is, as far as its name tells. */
function typeOf(name: string): string {
  if (name.endsWith("Id")) return "uuid";
  if (name.endsWith("At")) return "timestamp with time zone";
  if (/metadata/.test(name)) return "jsonb";
  if (/tokens|delta|priority|limit|before/i.test(name)) return "bigint";
  return "text";
}

/** An object as it is written, so that a name may be in it twice. */
function objectOf(args: [name: string, value: string][]): string {
  return `{${args.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}
