/** Rows of a source, gathered by user: what each is to open their books with, and what is not taken and why. */
import { createHash } from "node:crypto";
import { Failure } from "local-platform/terminal/failure";
import { add, asText, readDecimal, times, whole, zero, type Decimal } from "./amounts.ts";
import type { SourceRow } from "./sources.ts";

/** A grant to be. */
export interface NewGrant {
  tokens: number;
  grant_type: string;
  granted_at: string | null;
  expires_at: string | null;
}

/** A user to be opened, as tokenbook.import_opening_balances takes it. */
export interface Opening {
  user: string;
  grants: NewGrant[];
  owed: number;
  tokens_used: number;
  total_cost: number;
}

/** How amounts become tokens. */
export interface Rules {
  /** How many tokens one of the source's units is. */
  times: Decimal;
  /** Of grants of which the source does not say it. */
  grantType: string;
  /** In days from now; undefined: for ever. */
  lifetimeDays: number | undefined;
  knownTypes: ReadonlySet<string>;
  now: Date;
}

/** A row or a user that is not taken. */
export interface LeftOut {
  user: string;
  why: string;
}

export interface Collected {
  rows: number;
  /** Of the source, in its own unit, as text. */
  sum: string;
  openings: Opening[];
  leftOut: LeftOut[];
  /** Users whose balance is nothing: they get books with nothing in them. */
  empty: number;
  /** Of the openings, so that two runs can be compared. */
  checksum: string;
}

/** Beyond it a number of JavaScript is not exact; a balance has at most 10^12. */
const most = 1_000_000_000_000n;

/**
 * @param resolve the user's id in auth.users; undefined, when there is none.
 */
export async function collect(
  rows: AsyncIterable<SourceRow>,
  rules: Rules,
  resolve: (user: string) => string | undefined,
  onRow: (rows: number) => void,
): Promise<Collected> {
  const leftOut: LeftOut[] = [];
  const found = new Map<string, { plain: Decimal; grants: NewGrant[]; used: Decimal; cost: Decimal }>();
  let count = 0;
  let sum = zero;
  for await (const row of rows) {
    onRow(++count);
    const said = row.user?.trim();
    if (!said) {
      leftOut.push({ user: "", why: "the row names no user" });
      continue;
    }
    const amount = row.amount === null ? zero : readDecimal(row.amount);
    if (amount === undefined) {
      leftOut.push({ user: said, why: `${row.amount} is no amount` });
      continue;
    }
    sum = add(sum, amount);
    const user = resolve(said);
    if (user === undefined) {
      leftOut.push({ user: said, why: "no such user" });
      continue;
    }
    if (row.fault !== undefined) {
      leftOut.push({ user: said, why: row.fault });
      continue;
    }
    const one = found.get(user) ?? { plain: zero, grants: [], used: zero, cost: zero };
    found.set(user, one);
    one.used = add(one.used, readDecimal(row.used ?? "0") ?? zero);
    one.cost = add(one.cost, readDecimal(row.cost ?? "0") ?? zero);
    if (row.grantType === undefined && row.expiresAt === undefined) {
      one.plain = add(one.plain, amount);
      continue;
    }
    const tokens = whole(times(amount, rules.times));
    const expires = moment(row.expiresAt);
    if (expires !== null && expires <= rules.now) {
      if (tokens > 0n) leftOut.push({ user: said, why: "a grant that has run out" });
    } else if (tokens < 0n) one.plain = add(one.plain, amount);
    else if (tokens > 0n) {
      const type = row.grantType && rules.knownTypes.has(row.grantType) ? row.grantType : rules.grantType;
      one.grants.push(grantOf(said, tokens, type, moment(row.grantedAt), expires));
    }
  }
  return { rows: count, sum: asText(sum), leftOut, ...openingsOf(found, rules) };
}

function openingsOf(
  found: Map<string, { plain: Decimal; grants: NewGrant[]; used: Decimal; cost: Decimal }>,
  rules: Rules,
): Pick<Collected, "openings" | "empty" | "checksum"> {
  const digest = createHash("sha256");
  let empty = 0;
  const expires =
    rules.lifetimeDays === undefined ? null : new Date(rules.now.getTime() + rules.lifetimeDays * 86_400_000);
  const openings = [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([user, { plain, grants, used, cost }]) => {
      const tokens = whole(times(plain, rules.times));
      const all = tokens > 0n ? [...grants, grantOf(user, tokens, rules.grantType, null, expires)] : grants;
      const opening: Opening = {
        user,
        grants: all,
        owed: tokens < 0n ? exact(user, -tokens) : 0,
        tokens_used: exact(user, whole(used) < 0n ? 0n : whole(used)),
        total_cost: Number(cost.value) / 10 ** cost.scale,
      };
      if (all.length === 0 && opening.owed === 0) empty++;
      digest.update(
        `${user},${all.map((grant) => `${grant.tokens}:${grant.grant_type}`).join("+")},${opening.owed}\n`,
      );
      return opening;
    });
  return { openings, empty, checksum: digest.digest("hex").slice(0, 16) };
}

function grantOf(
  user: string,
  tokens: bigint,
  type: string,
  granted: Date | null,
  expires: Date | null,
): NewGrant {
  return {
    tokens: exact(user, tokens),
    grant_type: type,
    granted_at: granted?.toISOString() ?? null,
    expires_at: expires?.toISOString() ?? null,
  };
}

function exact(user: string, tokens: bigint): number {
  if (tokens > most)
    throw new Failure(`${user} would have ${tokens} tokens: at most ${most} can be. Is --times right?`);
  return Number(tokens);
}

/** Of a text as databases and files write moments; null: none, or for ever. */
function moment(text: string | null | undefined): Date | null {
  if (text === null || text === undefined || text === "" || text === "infinity") return null;
  const date = new Date(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d$/.test(text) ? `${text}:00` : text);
  if (Number.isNaN(date.getTime())) throw new Failure(`${text} is no moment.`);
  return date;
}
