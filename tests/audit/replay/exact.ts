/**
 * What an exact replay must find, token by token: every token is looked for by itself, in a sorted
 * list of all grants, and remembers which grant it came from. Slow, and nothing in it can be clever.
 *
 * Time is in hours. The same books, opened with what was stored, are what a project's functions would
 * have written: `Stored` runs them and keeps the ledger.
 */
import { inBurnOrder } from "../../support/burn-order.ts";

/** Where a grant comes from: an old transaction, the old app, or the ledger. */
export type Origin = "transaction" | "app" | "ledger";

export interface Grant {
  id: string;
  origin: Origin;
  tokens: number;
  priority: number;
  grantedAt: number;
  /** `Infinity`: never. */
  expiresAt: number;
  /** What the opening balance says that it had; 0 for what came later. */
  opening: number;
}

export interface Deduction {
  at: number;
  tokens: number;
}

/** One thing that happened after the books opened, as the caller asked for it. */
export type Event = { at: number } & (
  | { do: "grant"; grant: Grant }
  | { do: "deduct"; tokens: number; newestFirst: boolean }
  | { do: "hold"; tokens: number }
  | { do: "settle"; hold: number; captured: number }
  | { do: "refund"; charge: number; tokens: number; reissue: string | null }
  | { do: "clawback"; grant: number; tokens: number }
  /** A repair by reconciliation: an admin's deduction or grant. */
  | { do: "repair"; tokens: number; grant: Grant | null }
);

export interface History {
  user: string;
  grants: Grant[];
  deductions: Deduction[];
  /** Whether the deductions are on record as old transactions, or in the trail of usage only. */
  trail: "transactions" | "usage";
  openedAt: number;
  events: Event[];
}

/** The burn orders of the project: fifo but for these hours. */
export const EXPIRING_FIRST = { from: 40, until: 50 };

/** A token taken: the grant it came from, or null when there was none to be had. */
type Token = Grant | null;

/** One user's grants, and how many tokens each has left. */
export class Pile {
  readonly left = new Map<Grant, number>();
  uncovered = 0;

  put(grant: Grant, tokens: number): void {
    this.left.set(grant, (this.left.get(grant) ?? 0) + tokens);
  }

  /** Tokens that could be spent at that moment. */
  at(now: number): number {
    return [...this.left].reduce((total, [grant, left]) => total + (grant.expiresAt > now ? left : 0), 0);
  }

  takeFrom(grant: Grant): Token {
    if ((this.left.get(grant) ?? 0) === 0) return null;
    this.left.set(grant, this.left.get(grant)! - 1);
    return grant;
  }

  /** One token, from the first grant in burn order that has one; `since` is when the books opened. */
  take(now: number, { newestFirst = false, before = false } = {}): Token {
    const byExpiry = !before && now >= EXPIRING_FIRST.from && now < EXPIRING_FIRST.until;
    const order = [...this.left.keys()]
      .filter((grant) => grant.expiresAt > now && (!before || grant.grantedAt <= now))
      .sort(inBurnOrder(byExpiry ? "expiring_first" : "fifo"));
    if (newestFirst) order.reverse();
    for (const grant of order) {
      const token = this.takeFrom(grant);
      if (token !== null) return token;
    }
    return null;
  }
}

/** A row of the ledger to be: what it did to which grants, in order. */
export interface Entry {
  at: number;
  entryType: string;
  tokens: number;
  reserved: number;
  debt: number;
  parts: [Grant, number][];
  hold: number | null;
  original: number | null;
  isRepair: boolean;
}

/** The books as the functions keep them: starts with what was stored, writes the ledger. */
export class Stored {
  readonly pile = new Pile();
  readonly ledger: Entry[] = [];
  readonly holds: { tokens: Token[]; settled: boolean }[] = [];
  readonly charges: { entry: number; tokens: Token[] }[] = [];
  owed = 0;
  /** The events that had an effect, as the exact replay will see them. */
  readonly happened: (
    | Event
    | { at: number; do: "repay"; parts: [Grant, number][] }
    | { at: number; do: "settled"; left: Map<Grant, number>; holds: Token[][]; charges: Token[][] }
  )[] = [];

  constructor(history: History) {
    for (const grant of history.grants) this.pile.put(grant, grant.opening);
    this.write(
      history.openedAt,
      "opening_balance",
      1,
      history.grants.flatMap((grant) => Array<Token>(grant.opening).fill(grant)),
    );
    for (const event of history.events) this.run(event);
  }

  private run(event: Event): void {
    const { at } = event;
    for (const [grant, left] of this.pile.left) {
      if (left === 0 || grant.expiresAt > at) continue;
      this.pile.left.set(grant, 0);
      this.write(at, "expiry", -1, Array<Token>(left).fill(grant));
    }
    const take = (tokens: number, newestFirst = false) =>
      Array.from({ length: tokens }, () => this.pile.take(at, { newestFirst }));
    switch (event.do) {
      case "grant":
        this.pile.put(event.grant, event.grant.tokens);
        this.write(at, "grant", 1, Array<Token>(event.grant.tokens).fill(event.grant));
        this.happened.push(event);
        return this.repay(at);
      case "deduct": {
        if (this.pile.at(at) < event.tokens) return;
        const tokens = take(event.tokens, event.newestFirst);
        this.charges.push({ entry: this.write(at, "deduction", -1, tokens), tokens });
        break;
      }
      case "hold": {
        if (this.pile.at(at) < event.tokens) return;
        const tokens = take(event.tokens);
        this.holds.push({ tokens, settled: false });
        this.write(at, "hold", 0, tokens, { reserved: tokens.length, hold: this.holds.length - 1 });
        break;
      }
      case "settle": {
        const hold = this.holds[event.hold];
        if (hold === undefined || hold.settled) return;
        hold.settled = true;
        const captured = Math.min(event.captured, hold.tokens.length);
        const paid = hold.tokens.slice(0, captured);
        const back = hold.tokens.slice(captured);
        if (paid.length > 0)
          this.charges.push({
            entry: this.write(at, "deduction", -1, paid, { reserved: -paid.length, hold: event.hold }),
            tokens: paid,
          });
        if (back.length > 0) {
          for (const token of back) this.pile.put(token!, 1);
          this.write(at, "release", 0, back, { reserved: -back.length, hold: event.hold });
        }
        this.happened.push(event);
        return this.repay(at);
      }
      case "refund": {
        const charge = this.charges[event.charge];
        if (charge === undefined || charge.tokens.length < event.tokens) return;
        const back = charge.tokens.splice(charge.tokens.length - event.tokens).toReversed() as Grant[];
        const late = back.filter((grant) => grant.expiresAt <= at);
        const reissued: Grant | null =
          event.reissue === null || late.length === 0
            ? null
            : {
                id: event.reissue,
                origin: "ledger",
                tokens: late.length,
                priority: 50,
                grantedAt: at,
                expiresAt: at + 30,
                opening: 0,
              };
        const given =
          reissued === null
            ? back
            : [...back.filter((grant) => grant.expiresAt > at), ...late.map(() => reissued)];
        for (const grant of given) this.pile.put(grant, 1);
        this.write(at, "refund", 1, given, { original: charge.entry });
        this.happened.push({ ...event, reissue: reissued === null ? null : reissued.id });
        return this.repay(at);
      }
      case "repair": {
        if (event.grant !== null) {
          this.pile.put(event.grant, event.grant.tokens);
          this.write(at, "grant", 1, Array<Token>(event.grant.tokens).fill(event.grant), { isRepair: true });
        } else {
          if (this.pile.at(at) < event.tokens) return;
          const tokens = take(event.tokens);
          this.charges.push({ entry: this.write(at, "deduction", -1, tokens, { isRepair: true }), tokens });
        }
        this.happened.push({
          at,
          do: "settled",
          left: new Map(this.pile.left),
          holds: this.holds.map((hold) => [...hold.tokens]),
          charges: this.charges.map((charge) => [...charge.tokens]),
        });
        return this.repay(at);
      }
      case "clawback": {
        const own = [...this.pile.left.keys()][event.grant];
        if (own === undefined) return;
        const tokens: Token[] = [];
        while (tokens.length < event.tokens) {
          const token = (own.expiresAt > at ? this.pile.takeFrom(own) : null) ?? this.pile.take(at);
          if (token === null) break;
          tokens.push(token);
        }
        this.owed += event.tokens - tokens.length;
        this.write(at, "clawback", -1, tokens, { debt: event.tokens - tokens.length });
        if (tokens.length > 0) this.happened.push({ at, do: "repay", parts: partsOf(tokens) });
        return;
      }
    }
    this.happened.push(event);
  }

  private repay(at: number): void {
    const tokens = Array.from({ length: Math.min(this.owed, this.pile.at(at)) }, () => this.pile.take(at));
    if (tokens.length === 0) return;
    this.owed -= tokens.length;
    this.write(at, "debt_repayment", -1, tokens, { debt: -tokens.length });
    this.happened.push({ at, do: "repay", parts: partsOf(tokens) });
  }

  /** @returns the entry's number in the ledger. */
  private write(
    at: number,
    entryType: string,
    sign: -1 | 0 | 1,
    tokens: Token[],
    {
      reserved = 0,
      debt = 0,
      hold = null as number | null,
      original = null as number | null,
      isRepair = false,
    } = {},
  ): number {
    this.ledger.push({
      at,
      entryType,
      tokens: sign * tokens.length,
      reserved,
      debt,
      parts: partsOf(tokens),
      hold,
      original,
      isRepair,
    });
    return this.ledger.length;
  }
}

/** Runs the same history exactly: every grant of an old transaction whole, every deduction spread anew. */
export function exactly(history: History, stored: Stored): Pile {
  const pile = new Pile();
  const take = (at: number, tokens: number, options = {}) =>
    Array.from({ length: tokens }, () => {
      const token = pile.take(at, options);
      if (token === null) pile.uncovered++;
      return token;
    });
  for (const grant of history.grants)
    pile.put(grant, grant.origin === "transaction" ? grant.tokens : grant.tokens - grant.opening);
  for (const { at, tokens } of [...history.deductions].sort((a, b) => a.at - b.at))
    take(at, tokens, { before: true });
  for (const grant of history.grants) if (grant.origin === "app") pile.left.set(grant, grant.opening);

  let holds: Token[][] = [];
  let charges: Token[][] = [];
  for (const event of stored.happened) {
    const { at } = event;
    const giveBack = (tokens: Token[], reissued: Grant | undefined) => {
      let room = reissued?.tokens ?? 0;
      for (const token of tokens) {
        if (token === null) continue;
        if (token.expiresAt > at) pile.put(token, 1);
        else if (reissued !== undefined && room-- > 0) pile.put(reissued, 1);
      }
    };
    switch (event.do) {
      case "grant":
        pile.put(event.grant, event.grant.tokens);
        break;
      case "deduct":
        charges.push(take(at, event.tokens));
        break;
      case "hold":
        holds.push(take(at, event.tokens));
        break;
      case "settle": {
        const tokens = holds[event.hold]!;
        const captured = Math.min(event.captured, tokens.length);
        if (captured > 0) charges.push(tokens.slice(0, captured));
        giveBack(tokens.slice(captured), undefined);
        break;
      }
      case "refund": {
        const charge = charges[event.charge]!;
        const reissued = [...stored.pile.left.keys()].find((grant) => grant.id === event.reissue);
        giveBack(charge.splice(charge.length - event.tokens).toReversed(), reissued);
        break;
      }
      case "settled":
        pile.left.clear();
        for (const [grant, left] of event.left) pile.put(grant, left);
        pile.uncovered = 0;
        holds = event.holds;
        charges = event.charges;
        break;
      case "repay": {
        let missing = 0;
        for (const [grant, tokens] of event.parts)
          for (let n = 0; n < tokens; n++) if (pile.takeFrom(grant) === null) missing++;
        take(at, missing);
      }
    }
  }
  return pile;
}

function partsOf(tokens: Token[]): [Grant, number][] {
  const parts: [Grant, number][] = [];
  for (const grant of tokens as Grant[]) {
    const last = parts.find(([one]) => one === grant);
    if (last === undefined) parts.push([grant, 1]);
    else last[1]++;
  }
  return parts;
}
