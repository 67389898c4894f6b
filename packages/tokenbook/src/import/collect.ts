/** Rows of a source, gathered by user: what each is to open their books with, and what is not taken and why. */
import { createHash } from "node:crypto";
import { Failure } from "local-platform/terminal/failure";
import { readMoment, type Moment } from "../data/moment.ts";
import { add, asText, readDecimal, times, whole, zero, type Decimal } from "./amounts.ts";
import type { SourceRow } from "./sources.ts";
import type { Resolve } from "./users.ts";

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
  /** Of grants of which the source says no end, in days from now; undefined: for ever. */
  lifetimeDays: number | undefined;
  /** The types that there are, and whether a grant of each has to end. */
  knownTypes: ReadonlyMap<string, boolean>;
  /** By the database's clock. */
  now: Date;
}

/** A row or a user that is not taken. */
export interface LeftOut {
  user: string;
  why: string;
  /** As it is written there, where it is that. */
  value?: string;
}

export interface Collected {
  rows: number;
  /** Of the source, in its own unit, as text. */
  sum: string;
  openings: Opening[];
  leftOut: LeftOut[];
  /** Of the openings, so that two runs can be compared. */
  checksum: string;
  /** What is to be said of it. */
  notes: string[];
}

/** Beyond it a number of JavaScript is not exact; a balance has at most 10^12. */
const most = 1_000_000_000_000n;

/** A grant that begins within it is of now: the source's clock may be before the database's, and it goes on while it is read. */
const slackMs = 60_000;

/** What of a user's rows becomes one grant: it is added up, and rounded once. */
interface Part {
  amount: Decimal;
  type: string;
  granted: Moment | null;
  /** undefined: the source says none. */
  expires: Moment | null | undefined;
}

interface Found {
  /** As the source names them. */
  said: string;
  plain: Decimal;
  parts: Part[];
  used: Decimal;
  cost: Decimal;
  /** Why nothing of theirs is taken: an opening is once, so half of one is worse than none. */
  wrong?: Omit<LeftOut, "user">;
}

/**
 * @param resolve the user's id in auth.users, or why there is none.
 * @throws Failure where a file says a moment that can be read in several ways.
 */
export async function collect(
  rows: AsyncIterable<SourceRow>,
  rules: Rules,
  resolve: Resolve,
  onRow: (rows: number) => void,
): Promise<Collected> {
  const leftOut: LeftOut[] = [];
  const found = new Map<string, Found>();
  const unknownTypes = new Map<string, number>();
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
    if (amount !== undefined) sum = add(sum, amount);
    const user = resolve(said, row.otherId ?? undefined);
    if ("why" in user) {
      leftOut.push({ user: said, why: user.why });
      continue;
    }
    if (row.fault !== undefined) {
      leftOut.push({ user: said, why: row.fault });
      continue;
    }
    const expires = endOf(row.expiresAt, row.where);
    const granted = momentOf(row.grantedAt, row.where);
    if (granted && granted !== "unreadable" && granted.at.getTime() > rules.now.getTime() + slackMs) {
      leftOut.push({ user: said, why: "a grant that begins later: grant it then" });
      continue;
    }
    const one: Found = found.get(user.id) ?? { said, plain: zero, parts: [], used: zero, cost: zero };
    found.set(user.id, one);
    if (amount === undefined) {
      one.wrong ??= { why: "no amount", value: shortly(row.amount!) };
      continue;
    }
    if (expires === "unreadable" || granted === "unreadable") {
      const value = shortly((expires === "unreadable" ? row.expiresAt : row.grantedAt)!);
      one.wrong ??= { why: "no moment that can be kept", value };
      continue;
    }
    if (row.used) one.used = add(one.used, readDecimal(row.used) ?? zero);
    if (row.cost) one.cost = add(one.cost, readDecimal(row.cost) ?? zero);
    const said_type = row.grantType ?? undefined;
    const isKnown = said_type !== undefined && rules.knownTypes.has(said_type);
    if (said_type !== undefined && !isKnown)
      unknownTypes.set(said_type, (unknownTypes.get(said_type) ?? 0) + 1);
    if (expires && expires.at <= rules.now && amount.value >= 0n) {
      if (amount.value > 0n) leftOut.push({ user: said, why: "a grant that has run out" });
    } else if (amount.value < 0n || (!isKnown && !granted && expires === undefined)) {
      one.plain = add(one.plain, amount);
    } else {
      const type = isKnown ? said_type : rules.grantType;
      const same = one.parts.find(
        (part) =>
          part.type === type &&
          part.granted?.text === granted?.text &&
          part.expires?.text === expires?.text &&
          (part.expires === undefined) === (expires === undefined),
      );
      if (same) same.amount = add(same.amount, amount);
      else one.parts.push({ amount, type, granted: granted ?? null, expires });
    }
  }
  const notes = [...unknownTypes].map(
    ([type, some]) => `there is no type of grants ${shortly(type)}: ${some} of it become ${rules.grantType}`,
  );
  return { rows: count, sum: asText(sum), notes, ...openingsOf(found, rules, leftOut) };
}

function openingsOf(
  found: Map<string, Found>,
  rules: Rules,
  leftOut: LeftOut[],
): Pick<Collected, "openings" | "leftOut" | "checksum"> {
  const digest = createHash("sha256");
  const openings: Opening[] = [];
  for (const [user, one] of [...found].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const opening = one.wrong ?? openingOf(user, one, rules);
    if ("why" in opening) {
      leftOut.push({ user: one.said, ...opening });
      continue;
    }
    openings.push(opening.opening);
    digest.update(`${opening.text}\n`);
  }
  return { openings, leftOut, checksum: digest.digest("hex").slice(0, 16) };
}

/** @returns the opening, and what of it the source says, as text; or why there is none. */
function openingOf(
  user: string,
  { plain, parts, used, cost }: Found,
  { times: rate, grantType, lifetimeDays, knownTypes, now }: Rules,
): { opening: Opening; text: string } | { why: string } {
  const later =
    lifetimeDays === undefined ? null : new Date(now.getTime() + lifetimeDays * 86_400_000).toISOString();
  const sum = whole(times(plain, rate));
  const all: Part[] = [...parts, { amount: plain, type: grantType, granted: null, expires: undefined }];
  const grants: NewGrant[] = [];
  let total = 0n;
  const texts: string[] = [];
  for (const { amount, type, granted, expires } of all) {
    const tokens = whole(times(amount, rate));
    if (tokens <= 0n) continue;
    total += tokens;
    const mustEnd = knownTypes.get(type) === true;
    // "never" is not said of what has to end
    const isOurs = expires === undefined || (expires === null && mustEnd);
    const expires_at = isOurs ? later : (expires?.text ?? null);
    if (expires_at === null && mustEnd) {
      return { why: `a grant of the type ${type} has an end, and nothing says it: --lifetime-days` };
    }
    grants.push({ tokens: Number(tokens), grant_type: type, granted_at: granted?.text ?? null, expires_at });
    // the end of a lifetime is another in each run
    const end = isOurs && later !== null ? `+${lifetimeDays}` : (expires_at ?? "");
    texts.push(`${tokens}:${type}:${granted?.text ?? ""}:${end}`);
  }
  const owed = sum < 0n ? -sum : 0n;
  const tokens_used = whole(used) < 0n ? 0n : whole(used);
  if ([total, owed, tokens_used].some((number) => number > most)) {
    return { why: `more than there can be (${asText({ value: most, scale: 0 })} tokens): is --times right?` };
  }
  const total_cost = Number(cost.value) / 10 ** cost.scale;
  return {
    opening: { user, grants, owed: Number(owed), tokens_used: Number(tokens_used), total_cost },
    // in whatever order the source gave them
    text: [user, ...texts.toSorted(), owed, tokens_used, total_cost].join(","),
  };
}

/** An end: null is for ever, undefined that the source says none. */
function endOf(
  text: string | null | undefined,
  where: string | undefined,
): ReturnType<typeof momentOf> | null {
  if (text === "infinity") return null;
  if (text === "-infinity") return { at: new Date(0), text };
  return momentOf(text, where);
}

/**
 * Of a text as databases and files write moments; undefined, when there is none.
 *
 * @param where of a file: what is wrong there can be mended there.
 * @throws Failure for what a file says that is no moment.
 */
function momentOf(
  text: string | null | undefined,
  where: string | undefined,
): Moment | undefined | "unreadable" {
  if (text === null || text === undefined || text === "") return undefined;
  const moment = readMoment(text);
  if (moment !== undefined) return moment;
  if (where === undefined) return "unreadable";
  throw new Failure(
    `${where}: ${shortly(text)} is no moment. It looks like 2027-01-01T00:00Z, or 2027-01-01. Nothing was changed.`,
  );
}

const shortly = (text: string) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
