/** Requests to a function that are not one plain JSON object, and what comes of them. */

/** What an answer says: a status, and with it a code or a message of the body. */
export type Said = readonly [status: number, word?: string];

export interface Body {
  what: string;
  /** Of `deduct_tokens_with_fifo`, unless another function is named. */
  call?: string;
  method?: string;
  query?: string;
  type?: string;
  /** Made for a user, and 1 token. */
  body?: (user: string) => string | Uint8Array;
  /** Any of these. PostgREST and our local platform do not always agree. */
  says: readonly Said[];
  /** How many tokens are spent. */
  spends: 0 | 1 | 2;
}

const args = (user: string, tokens = 1) => `{"p_user_id":"${user}","p_tokens_to_deduct":${tokens}}`;
const form = "application/x-www-form-urlencoded";

export const bodies: readonly Body[] = [
  { what: "one object", body: args, says: [[200]], spends: 1 },
  { what: "one object, blanks around it", body: (user) => `\n ${args(user)}\n`, says: [[200]], spends: 1 },
  {
    what: "one object, its type with a charset",
    type: "application/json; charset=utf-8",
    body: args,
    says: [[200]],
    spends: 1,
  },
  {
    what: "one object, columns named in the query",
    query: "?columns=p_user_id,p_tokens_to_deduct",
    body: args,
    says: [[200]],
    spends: 1,
  },
  {
    what: "an object with a member twice: the last counts",
    body: (user) => args(user).replace("}", ',"p_tokens_to_deduct":2}'),
    says: [[200]],
    spends: 2,
  },
  {
    what: "an array of two objects",
    body: (user) => `[${args(user, 1)},${args(user, 2)}]`,
    says: [[400, "invalid_request"]],
    spends: 0,
  },
  {
    what: "an array of one object",
    body: (user) => `[${args(user)}]`,
    says: [[400, "invalid_request"]],
    spends: 0,
  },
  {
    what: "an array, columns named in the query",
    query: "?columns=p_user_id,p_tokens_to_deduct",
    body: (user) => `[${args(user, 1)},${args(user, 2)}]`,
    says: [[400, "invalid_request"]],
    spends: 0,
  },
  {
    what: "CSV of two lines",
    type: "text/csv",
    body: (user) => `p_user_id,p_tokens_to_deduct\n${user},1\n${user},2\n`,
    says: [[415, "unsupported_media_type"]],
    spends: 0,
  },
  {
    what: "a form",
    type: form,
    body: (user) => `p_user_id=${user}&p_tokens_to_deduct=1`,
    says: [[415, "unsupported_media_type"]],
    spends: 0,
  },
  {
    what: "text, for a function that needs arguments",
    type: "text/plain",
    body: args,
    says: [[404, "PGRST202"]],
    spends: 0,
  },
  {
    what: "text, for one that needs none",
    call: "get_user_token_balance",
    type: "text/plain",
    body: args,
    says: [[415, "unsupported_media_type"]],
    spends: 0,
  },
  {
    what: "bytes, for one that needs none",
    call: "get_user_token_balance",
    type: "application/octet-stream",
    body: args,
    says: [[415, "unsupported_media_type"]],
    spends: 0,
  },
  { what: "a type that is none", type: "image/png", body: args, says: [[400, "PGRST102"]], spends: 0 },
  {
    what: "null, for a function that needs arguments",
    body: () => "null",
    says: [[404, "PGRST202"]],
    spends: 0,
  },
  {
    what: "an empty array, for a function that needs arguments",
    body: () => "[]",
    says: [[404, "PGRST202"]],
    spends: 0,
  },
  { what: "a number", body: () => "5", says: [[404, "PGRST202"]], spends: 0 },
  { what: "no JSON", body: () => "{", says: [[400, "PGRST102"]], spends: 0 },
  { what: "a byte order mark", body: (user) => `\ufeff${args(user)}`, says: [[400, "PGRST102"]], spends: 0 },
  {
    what: "JSON 20,000 deep",
    body: (user) => args(user).replace("}", `,"p_metadata":${"[".repeat(20_000)}${"]".repeat(20_000)}}`),
    says: [
      [400, "PGRST102"],
      [500, "54001"],
    ],
    spends: 0,
  },
  {
    what: "bytes that are no UTF-8 in the query",
    query: "?a=%FF",
    body: args,
    says: [[400, "PGRST100"], [500]],
    spends: 0,
  },
  { what: "an empty `or`", query: "?or=", body: args, says: [[400, "PGRST100"]], spends: 0 },
  {
    what: "a condition on what is one value",
    query: "?or=(a.eq.1,b.eq.2)",
    body: args,
    says: [[400, "42703"]],
    spends: 0,
  },
  {
    what: "a column of what is one value",
    query: "?select=x",
    body: args,
    says: [[400, "42703"]],
    spends: 0,
  },
  {
    what: "an argument in the query",
    query: "?p_tokens_to_deduct=1",
    body: (user) => `{"p_user_id":"${user}"}`,
    says: [
      [400, "PGRST100"],
      [404, "PGRST202"],
    ],
    spends: 0,
  },
  { what: "GET", method: "GET", query: "USER", says: [[405, "25006"]], spends: 0 },
  { what: "PUT", method: "PUT", body: args, says: [[405, "PGRST101"]], spends: 0 },
];
