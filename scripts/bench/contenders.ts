/** What is measured: each a line of the table, with what it sends to the database. */

export interface Contender {
  name: string;
  /** What it is, for the table. */
  what: string;
  script: string;
  /** Ledger entries that one transaction makes, so that a run which did something else is noticed. */
  entries: number;
  /** On users of its own: what it leaves behind would change what the others find. */
  apart?: boolean;
}

/** The user whose turn it is. */
export const user = "bench.user(:n)";

/** Unique for ever: two random numbers of 62 bits. */
const key = `\\set a random(1, 4611686018427387903)
\\set b random(1, 4611686018427387903)`;

export const floor: Contender = {
  name: "floor",
  what: "one guarded UPDATE and one INSERT in plpgsql: the least that a deduction could do",
  script: `select bench.floor(${user}, 1);`,
  entries: 0,
};

export const select: Contender = {
  name: "select",
  what: "one column of one row by its key: the least that a balance could do",
  script: `select tokens_remaining from public.token_accounts where user_id = ${user};`,
  entries: 0,
};

export const deduct: Contender = {
  name: "deduct",
  what: "deduct_tokens_with_fifo, everything on",
  script: `select public.deduct_tokens_with_fifo(${user}, 1, 'chat_conversation');`,
  entries: 1,
};

export const balance: Contender = {
  name: "balance",
  what: "get_user_token_balance: totals, and each grant",
  script: `select public.get_user_token_balance(${user});`,
  entries: 0,
};

/** In the order of the table. */
export const contenders: readonly Contender[] = [
  floor,
  {
    name: "counter",
    what: "`update profiles set credits = credits - n`: most templates",
    script: `update bench.profiles set credits = credits - 1 where id = ${user} and credits >= 1;`,
    entries: 0,
  },
  {
    name: "loop",
    what: "grants spent row by row: a sum, a loop, a table of allocations; no lock, no key, no balance",
    script: `select bench.loop(${user}, 1, 'chat_conversation');`,
    entries: 0,
  },
  deduct,
  {
    name: "deduct, keyed",
    what: "the same with an idempotency key",
    script: `${key}
select public.deduct_tokens_with_fifo(${user}, 1, 'chat_conversation', 'b:' || :a || ':' || :b);`,
    entries: 1,
  },
  {
    name: "track",
    what: "track_token_usage: the deduction, and the record of the call with its cost",
    script: `select public.track_token_usage(${user}, 'chat_conversation', 'bench-model', 10, 20, 1);`,
    entries: 1,
  },
  {
    name: "hold + capture",
    what: "reserve_tokens and capture_tokens, two transactions",
    script: `select public.reserve_tokens(${user}, 2) ->> 'hold_id' as hold \\gset
select public.capture_tokens(${user}, :hold, 2);`,
    entries: 2,
    apart: true,
  },
  {
    name: "deduct + refund",
    what: "a deduction and refund_tokens of all of it, two transactions",
    script: `select public.deduct_tokens_with_fifo(${user}, 1) ->> 'transaction_id' as charge \\gset
select public.refund_tokens(${user}, p_transaction_id => :charge);`,
    entries: 2,
  },
  {
    name: "grant",
    what: "grant_tokens",
    script: `select public.grant_tokens(${user}, 1, 'admin');`,
    entries: 1,
    apart: true,
  },
  select,
  balance,
  {
    name: "history",
    what: "get_token_history: a page of 50",
    script: `select public.get_token_history(${user}, 50);`,
    entries: 0,
  },
];
