/**
 * The books once more, as simply as they can be said: an account of one user in memory, with a clock
 * that is stepped by hand. Written from DESIGN's sentences and from nothing in supabase/schemas.
 *
 * Time is in seconds. Everything that time changes happens at once when the clock is stepped; the
 * database does it when somebody comes by, and nobody must be able to tell the difference.
 */

/** A grant; `n` is its number in order of booking. */
export interface Grant {
  n: number;
  granted: number;
  left: number;
  priority: number;
  grantedAt: number;
  expiresAt: number;
  voided: boolean;
  /** Tokens of it that ran out, or were taken back: the user has not had them. */
  notHad: number;
}

/** What paid, grant by grant, in the order of paying. */
export type Parts = [n: number, tokens: number][];

export interface Charge {
  tokens: number;
  parts: Parts;
  refunded: number;
  isUse: boolean;
}

export interface Hold {
  status: "open" | "captured" | "released" | "expired";
  tokens: number;
  parts: Parts;
  expiresAt: number;
  captured: number;
}

export class Refused extends Error {}

export class Books {
  now = 0;
  grants: Grant[] = [];
  holds: Hold[] = [];
  /** By the number of its transaction in the ledger. */
  charges = new Map<number, Charge>();
  used = 0;
  expired = 0;
  owed = 0;

  get active(): number {
    return sum(this.grants.map((grant) => grant.left));
  }

  get reserved(): number {
    return sum(this.holds.filter((hold) => hold.status === "open").map((hold) => hold.tokens));
  }

  /** Grants with tokens left in the order in which they are spent. */
  queue(): Grant[] {
    return this.grants
      .filter((grant) => grant.left > 0)
      .sort((a, b) => a.priority - b.priority || a.grantedAt - b.grantedAt || a.n - b.n);
  }

  step(seconds: number): void {
    this.now += seconds;
    let cameBack = false;
    for (const hold of this.holds) {
      if (hold.status !== "open" || hold.expiresAt > this.now) continue;
      hold.status = "expired";
      this.putBack(hold.parts);
      cameBack = true;
    }
    this.expire();
    if (cameBack) this.repay();
  }

  grant(tokens: number, priority: number, lifetime: number | null, backdated = 0): Grant {
    const grant = {
      n: this.grants.length,
      granted: tokens,
      left: tokens,
      priority,
      grantedAt: this.now - backdated,
      expiresAt: lifetime === null ? Infinity : this.now + lifetime,
      voided: false,
      notHad: 0,
    };
    this.grants.push(grant);
    this.repay();
    return grant;
  }

  /** What a deduction of that many would be paid from. */
  choose(tokens: number): Parts {
    const parts: Parts = [];
    let needed = tokens;
    for (const grant of this.queue()) {
      if (needed === 0) break;
      const taken = Math.min(grant.left, needed);
      parts.push([grant.n, taken]);
      needed -= taken;
    }
    return parts;
  }

  take(tokens: number): Parts {
    const parts = this.choose(tokens);
    for (const [n, taken] of parts) this.grants[n]!.left -= taken;
    return parts;
  }

  charge(transaction: number, tokens: number, parts: Parts, isUse: boolean): void {
    this.charges.set(transaction, { tokens, parts, refunded: 0, isUse });
    if (isUse) this.used += tokens;
  }

  reserve(tokens: number, ttl: number): Hold {
    const hold: Hold = {
      status: "open",
      tokens,
      parts: this.take(tokens),
      expiresAt: this.now + ttl,
      captured: 0,
    };
    this.holds.push(hold);
    return hold;
  }

  /** Settles an open hold: pays for the front of it and puts the rest back. */
  settle(hold: Hold, captured: number, status: "captured" | "released"): void {
    hold.status = status;
    hold.captured = captured;
    this.comeIn(slice(hold.parts, captured, hold.tokens));
  }

  /** Gives back what was paid last, and says what of it came too late. */
  refund(charge: Charge, tokens: number, reissueFor: number | null): { restored: Parts; forfeited: Parts } {
    const left = charge.tokens - charge.refunded;
    if (tokens > left || left === 0) throw new Refused("refund_exceeds_charge");
    const back = slice(charge.parts, left - tokens, left).toReversed();
    charge.refunded += tokens;
    if (charge.isUse) this.used -= tokens;
    const isOver = ([n]: [number, number]) => this.grants[n]!.expiresAt <= this.now;
    const late = back.filter(isOver);
    const restored = back.filter((part) => !isOver(part));
    if (reissueFor === null || late.length === 0) {
      this.comeIn(back);
      return { restored, forfeited: late };
    }
    this.putBack(restored);
    const reissued = sum(late.map(([, part]) => part));
    this.grants.push({
      n: this.grants.length,
      granted: reissued,
      left: reissued,
      priority: 50,
      grantedAt: this.now,
      expiresAt: this.now + reissueFor,
      voided: false,
      notHad: 0,
    });
    this.repay();
    return { restored: [...restored, [this.grants.length - 1, reissued]], forfeited: [] };
  }

  void(grant: Grant, takeBack: boolean): { taken: number; owed: number } {
    if (grant.voided) throw new Refused("grant_already_voided");
    const wanted = takeBack ? grant.granted - grant.notHad : grant.left;
    grant.voided = true;
    grant.expiresAt = Math.min(grant.expiresAt, this.now);
    const fromOwn = Math.min(grant.left, wanted);
    grant.left -= fromOwn;
    grant.notHad += fromOwn;
    const parts = this.take(Math.min(wanted - fromOwn, this.active));
    for (const [n, taken] of parts) this.grants[n]!.notHad += taken;
    const taken = fromOwn + sum(parts.map(([, part]) => part));
    this.owed += wanted - taken;
    return { taken, owed: wanted - taken };
  }

  private comeIn(parts: Parts): void {
    this.putBack(parts);
    this.expire();
    this.repay();
  }

  private putBack(parts: Parts): void {
    for (const [n, tokens] of parts) {
      this.grants[n]!.left += tokens;
      if (this.grants[n]!.left > this.grants[n]!.granted) throw new Error("more than was granted");
    }
  }

  private expire(): void {
    for (const grant of this.grants) {
      if (grant.expiresAt > this.now) continue;
      this.expired += grant.left;
      grant.notHad += grant.left;
      grant.left = 0;
    }
  }

  private repay(): void {
    const tokens = Math.min(this.owed, this.active);
    this.take(tokens);
    this.owed -= tokens;
  }
}

/** The parts between two points, counted in tokens from the front. */
export function slice(parts: Parts, from: number, to: number): Parts {
  const found: Parts = [];
  let at = 0;
  for (const [n, tokens] of parts) {
    const overlap = Math.min(at + tokens, to) - Math.max(at, from);
    if (overlap > 0) found.push([n, overlap]);
    at += tokens;
  }
  return found;
}

export function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
