// @module-tag proof
import { parse } from "csv-parse/sync";
import {
  type ApiUnderTest,
  startApiUnderTest,
} from "../../../packages/local-platform/tests/api-under-test.ts";
import { createDatabase } from "../../support/database.ts";
import { breaches } from "../../support/books.ts";
import { run } from "../../support/command.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P16",
  promise: "Numbers never wrap, never round, and can always be read",
  trial:
    "Each operation with the numbers around 0, 2^31, 10^12, 2^53 and 2^63, in SQL, as JSON over HTTP and by supabase-js: refused, or exact to the last digit in receipt, balance, tables, history and export; balances up to the limit of 2^53 - 1",
  run: (scale) => tryIt(null, Object.keys(operations), scale === "long" ? [LIMIT, 3n * MOST] : [3n * MOST]),
  control: {
    variant: "a receipt in four bytes of floating point, a balance in an integer",
    run: () => tryIt("numbers-too-small", ["deduct"], []),
  },
});

const MOST = 1_000_000_000_000n;
const LIMIT = 9_007_199_254_740_991n;

/** As they are written. */
const numbers = [
  "0",
  "1",
  "-1",
  "2147483646",
  "2147483647",
  "2147483648",
  "2147483649",
  "4294967296",
  "4294967297",
  "-2147483647",
  "-2147483648",
  "-2147483649",
  "999999999999",
  "1000000000000",
  "1000000000001",
  "-1000000000000",
  "-1000000000001",
  "9007199254740991",
  "9007199254740992",
  "9007199254740993",
  "-9007199254740993",
  "9223372036854775807",
  "9223372036854775808",
  "-9223372036854775808",
  "-9223372036854775809",
  "18446744073709551617",
  "1.5",
  "1e3",
];

/** Arguments by name, each as JSON text: no number passes through a JavaScript number on its way. */
type Arguments = Record<string, string>;

interface Operation {
  from: bigint;
  /** Whether 0 is among them, when it lies between. */
  zero: boolean;
  call: (tokens: string) => [name: string, args: Arguments];
  /** What must have been done before; takes 10^12 tokens. Gives arguments. */
  after?: (via: Transport, user: string) => Promise<Arguments>;
  /** Where the receipt says the number again. */
  said: string;
  /** What it does to what can be spent. */
  moves: (tokens: bigint) => bigint;
}

const spends = (tokens: bigint) => -tokens;
const operations: Record<string, Operation> = {
  grant: {
    from: 1n,
    zero: false,
    call: (tokens) => ["grant_tokens", { p_tokens: tokens, p_grant_type: '"purchase"' }],
    said: "tokens_granted",
    moves: (tokens) => tokens,
  },
  deduct: {
    from: 1n,
    zero: false,
    call: (tokens) => ["deduct_tokens_with_fifo", { p_tokens_to_deduct: tokens }],
    said: "tokens_deducted",
    moves: spends,
  },
  "track tokens": {
    from: 0n,
    zero: true,
    call: (tokens) => ["track_token_usage", { p_action_type: '"chat"', p_tokens_used: tokens }],
    said: "tokens_used",
    moves: spends,
  },
  "track input": {
    from: 0n,
    zero: true,
    call: (tokens) => [
      "track_token_usage",
      { p_action_type: '"chat"', p_input_tokens: tokens, p_output_tokens: "0" },
    ],
    said: "tokens_used",
    moves: spends,
  },
  reserve: {
    from: 1n,
    zero: false,
    call: (tokens) => ["reserve_tokens", { p_tokens: tokens }],
    said: "tokens_reserved",
    moves: spends,
  },
  capture: {
    from: 0n,
    zero: true,
    after: async (via, user) => {
      const hold = await via.call("reserve_tokens", { p_user_id: `"${user}"`, p_tokens: String(MOST) });
      return { p_hold_id: `"${/"hold_id": ?"([^"]+)"/.exec(hold)![1]}"` };
    },
    call: (tokens) => ["capture_tokens", { p_tokens: tokens, p_over_capture: '"reject"' }],
    said: "tokens_captured",
    moves: (tokens) => MOST - tokens,
  },
  refund: {
    from: 1n,
    zero: false,
    after: async (via, user) => {
      const charge = await via.call("deduct_tokens_with_fifo", {
        p_user_id: `"${user}"`,
        p_tokens_to_deduct: String(MOST),
      });
      return { p_transaction_id: numberIn(charge, "transaction_id")! };
    },
    call: (tokens) => ["refund_tokens", { p_tokens: tokens }],
    said: "tokens_refunded",
    moves: (tokens) => tokens,
  },
  correction: {
    from: -MOST,
    zero: false,
    call: (tokens) => ["adjust_tokens", { p_delta: tokens }],
    said: "delta",
    moves: (tokens) => tokens,
  },
  cap: {
    from: 0n,
    zero: true,
    call: (tokens) => ["set_token_spend_cap", { p_window: '"month"', p_tokens: tokens }],
    said: "limit",
    moves: () => 0n,
  },
  "an item of a batch": {
    from: 1n,
    zero: false,
    call: (tokens) => ["deduct_tokens_batch", { p_items: tokens }],
    said: "tokens_deducted",
    moves: spends,
  },
};

/** A way to call a function as the server. Answers with JSON text; a refusal throws with its code. */
interface Transport {
  name: string;
  call: (name: string, args: Arguments) => Promise<string>;
  /** Whether a number can be said there at all. */
  canSay: (number: string) => boolean;
}

class Refused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function transports({ db, api, keys, client }: ApiUnderTest): Transport[] {
  const raw = (args: Arguments) =>
    `{${Object.entries(args)
      .map(([name, json]) => `"${name}": ${json}`)
      .join(", ")}}`;
  const library = client(keys.secretKey);
  return [
    {
      name: "SQL",
      canSay: () => true,
      async call(name, args) {
        const values = Object.values(args).map((json) => (/^("|null)/.test(json) ? JSON.parse(json) : json));
        const named = Object.keys(args).map((argument, i) => `${argument} => $${i + 1}`);
        const { rows } = await db.admin
          .query(`select public.${name}(${named.join(", ")})::text as answer`, values)
          .catch((error: { code: string }) => {
            throw new Refused(error.code);
          });
        return rows[0].answer;
      },
    },
    {
      name: "HTTP",
      canSay: () => true,
      async call(name, args) {
        const answer = await fetch(`${api.url}/rest/v1/rpc/${name}`, {
          method: "POST",
          headers: { apikey: keys.secretKey, "content-type": "application/json" },
          body: raw(args),
        });
        const text = await answer.text();
        if (answer.status >= 500) throw new Error(`${answer.status} ${text}`);
        if (!answer.ok) throw new Refused(JSON.parse(text).code);
        return text;
      },
    },
    {
      name: "supabase-js",
      canSay: (number) => JSON.stringify(JSON.parse(number)) === number,
      async call(name, args) {
        const { data, error } = await library.rpc(name, JSON.parse(raw(args)));
        if (error) throw new Refused(error.code);
        return JSON.stringify(data);
      },
    },
  ];
}

/** A number as it stands in JSON text. */
const numberIn = (json: string, field: string) => new RegExp(`"${field}": ?(-?[0-9.eE+-]+)`).exec(json)?.[1];

/** The whole number that it is, however it is written; a reader that cannot parse it may refuse it. */
const valueOf = (number: string): bigint | null =>
  number === "1e3" ? 1_000n : /^-?\d+$/.test(number) ? BigInt(number) : null;

/** Codes that a number may be refused with: ours, out of range, not a number of that kind. */
const refusals = ["PT400", "22003", "22P02", "invalid_amount"];

async function tryIt(mutant: string | null, names: string[], balances: bigint[]): Promise<Tried> {
  const it = await startApiUnderTest("", {}, await createDatabase());
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const count = (what: string, times = 1) => (mix[what] = (mix[what] ?? 0) + times);
  try {
    if (mutant !== null) await applyMutant(it.db, mutant);
    const ways = transports(it);
    await Promise.all(
      names.flatMap((name) => ways.map((via) => tryOne(it, via, name, operations[name]!, count, wrong))),
    );
    for (const balance of balances) await fill(it, ways, balance, count, wrong);
    if (mutant === null) wrong.push(...(await breaches(it.db)));
    const times = Object.values(mix).reduce((sum, one) => sum + one, 0);
    return { times, unit: "numbers", mix, violations: wrong.length, examples: wrong.slice(0, 5) };
  } finally {
    await it.close();
  }
}

/** One operation over one transport with every number, for a user of its own. */
async function tryOne(
  it: ApiUnderTest,
  via: Transport,
  name: string,
  { from, zero, call, after, said, moves }: Operation,
  count: (what: string) => void,
  wrong: string[],
): Promise<void> {
  const user = await createUser(it.db);
  let balance = 0n;
  const fault = (what: string) => wrong.push(`${via.name}, ${name}: ${what}`);
  for (const number of numbers.filter(via.canSay)) {
    for (; balance < 3n * MOST; balance += MOST) {
      await via.call("grant_tokens", { p_user_id: `"${user}"`, p_tokens: String(MOST) });
    }
    const value = valueOf(number);
    const isRight = value !== null && value >= from && value <= MOST && (value !== 0n || zero);
    try {
      const before = (await after?.(via, user)) ?? {};
      if (after) balance -= MOST;
      const [called, args] = call(number);
      const answer = await via.call(
        called,
        called === "deduct_tokens_batch"
          ? { p_items: `[{"user_id": "${user}", "tokens": ${number}}]` }
          : { p_user_id: `"${user}"`, ...before, ...args },
      );
      const error = /"error": ?\{"?.*?"code": ?"([a-z_]+)"/.exec(answer)?.[1];
      if (error !== undefined) throw new Refused(error);
      if (!isRight) {
        fault(`${number} is taken: ${answer}`);
        return;
      }
      balance += moves(value);
      count("taken exactly");
      if (numberIn(answer, said) !== String(value))
        fault(`${number} is ${numberIn(answer, said)} in the receipt`);
      const remaining = numberIn(answer, "tokens_remaining");
      if (name !== "cap" && remaining !== String(balance))
        fault(`${number} leaves ${remaining}, not ${balance}`);
      if (name === "cap")
        await via.call("set_token_spend_cap", {
          p_user_id: `"${user}"`,
          p_window: '"month"',
          p_tokens: "null",
        });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      count("refused");
      if ((isRight && String(value) === number) || !refusals.includes(error.code))
        fault(`${number} is refused: ${error.code}`);
    }
  }
  await read(it, [via], user, balance, count, fault);
}

/** What can be spent, wherever it can be read. */
async function read(
  it: ApiUnderTest,
  ways: Transport[],
  user: string,
  balance: bigint,
  count: (what: string) => void,
  fault: (what: string) => void,
): Promise<void> {
  const found: Record<string, string | undefined> = {};
  for (const via of ways) {
    found[`balance, ${via.name}`] = await via
      .call("get_user_token_balance", { p_user_id: `"${user}"` })
      .then((answer) => numberIn(answer, "total_active"))
      .catch((error: Error) => `unreadable: ${error.message}`);
    found[`history, ${via.name}`] = numberIn(
      await via.call("get_token_history", { p_user_id: `"${user}"`, p_limit: "1" }),
      "balance_after",
    );
  }
  const table = await it.fetch(`/rest/v1/token_accounts?select=tokens_remaining&user_id=eq.${user}`, {
    headers: { apikey: it.keys.secretKey },
  });
  found["table, HTTP"] = numberIn(await table.text(), "tokens_remaining");
  const { rows } = await it.db.admin.query(
    `select a.tokens_remaining::text as account, (select sum(b.tokens_remaining)::text from public.token_balances b where b.user_id = a.user_id) as grants,
            (select sum(t.tokens - t.reserved_change)::text from public.token_transactions t where t.user_id = a.user_id) as ledger,
            (select c.vibe_assistant_tokens_remaining::text from public.token_counters c where c.user_id = a.user_id) as old_name
       from public.token_accounts a where a.user_id = $1`,
    [user],
  );
  for (const [where, tokens] of Object.entries({ ...found, ...rows[0] })) {
    count("read exactly");
    if (tokens !== String(balance)) fault(`${where} says ${String(tokens)}, not ${balance}`);
  }
}

/** A user whose tokens and use come to the limit to the last one; then one more. */
async function fill(
  it: ApiUnderTest,
  ways: Transport[],
  balance: bigint,
  count: (what: string) => void,
  wrong: string[],
): Promise<void> {
  const user = await createUser(it.db);
  const fault = (what: string) => wrong.push(`at the limit: ${what}`);
  // from before the books: the user has used what they do not have
  await it.db.admin.query(
    `with account as (
       insert into public.token_accounts (user_id, tokens_remaining, tokens_used, last_transaction_id) values ($1, 0, $2, 1))
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata)
     select $1, 1, 'opening_balance', 'opening_balance', 0, 0, '{}', '{}', 'the books open', 'system', jsonb_build_object('tokens_used', $2::bigint, 'total_cost', 0)`,
    [user, String(LIMIT - balance)],
  );
  await it.db.admin.query(
    `select count(public.grant_tokens($1, least(1000000000000, $2::bigint - n * 1000000000000), 'purchase'))
       from generate_series(0, ($2::bigint - 1) / 1000000000000) n`,
    [user, String(balance)],
  );
  await read(it, ways, user, balance, count, fault);
  for (const via of ways) {
    for (const tokens of ["1", String(MOST)]) {
      const answer = await via
        .call("grant_tokens", { p_user_id: `"${user}"`, p_tokens: tokens })
        .catch((error: Refused) => error.code);
      count("refused above the limit");
      if (!answer.startsWith("PT4")) fault(`${via.name} grants ${tokens} more: ${answer}`);
    }
    await via.call("deduct_tokens_with_fifo", { p_user_id: `"${user}"`, p_tokens_to_deduct: "1" });
    balance -= 1n;
  }
  await read(it, ways, user, balance, count, fault);

  const exported = await run("export", ["--user", user], { SUPABASE_DB_URL: it.db.url() });
  const lines: Record<string, string>[] = parse(exported.stdout, { columns: true, record_delimiter: "\r\n" });
  const last = lines.reduce(
    (one, other) => (Number(one["number"]) > Number(other["number"]) ? one : other),
    lines[0]!,
  );
  count("exported exactly");
  if (last["balance_after"] !== String(balance)) fault(`exported as ${JSON.stringify(last)}, not ${balance}`);
}
