/**
 * The books once more, as simply as they can be said: an account of one user in memory, with a clock
 * that is stepped by hand. Written from the documented rules and from nothing in supabase/schemas.
 *
 * Time is in seconds. Everything that time changes happens at once when the clock is stepped; the
 * database does it when somebody comes by, and nobody must be able to tell the difference.
 */
import { type BurnOrder, inBurnOrder } from "../support/burn-order.ts";

/** What tokens are used for: an action, and the model that it called. */
export interface Use {
  action: string;
  model?: string;
}

/** A grant; `n` is its number in order of booking. */
export interface Grant {
  n: number;
  granted: number;
  left: number;
  priority: number;
  grantedAt: number;
  expiresAt: number;
  /** The uses that it pays for; null: all of them. */
  paysFor: { actions?: readonly string[]; models?: readonly string[] } | null;
  /** The grant's source of money; what is reissued for several is a grant for each. null: not paid for. */
  money: number | null;
  voided: boolean;
  /** Tokens of it that ran out, or were taken back: the user has not had them. */
  notHad: number;
  /** Tokens of it that ran out unspent, or were voided: a user who is refunded for them owes nothing. */
  lapsed: number;
  /** What the books call it, once they have said so; decides between grants that are equal in all else. */
  id?: string;
}

/** A grant to come. */
export interface Promised {
  id?: string;
  granted: number;
  priority: number;
  paysFor: Grant["paysFor"];
  startsAt: number;
  expiresAt: number;
}

/** What paid, grant by grant, in the order of paying. */
export type Parts = [n: number, tokens: number][];

export interface Charge {
  /** What was used: what grants paid, and what is owed for it. */
  tokens: number;
  owed: number;
  parts: Parts;
  refunded: number;
  isUse: boolean;
}

export interface Hold {
  status: "open" | "captured" | "released" | "expired";
  tokens: number;
  parts: Parts;
  expiresAt: number;
  use: Use;
  captured: number;
  /** The hold that it is a part of. */
  parent?: Hold;
  /** The grants that it had at first, in its order. */
  order: number[];
}

export class Refused extends Error {}

export class Books {
  /** In seconds; no two commands come at the same moment. */
  now = 0;
  grants: Grant[] = [];
  /** What is to come, and has neither begun nor been called off. */
  promises: Promised[] = [];
  holds: Hold[] = [];
  /** By the number of its transaction in the ledger. */
  charges = new Map<number, Charge>();
  used = 0;
  expired = 0;
  owed = 0;
  /** Up to where the plan filled the balance; null: the user is on no plan. */
  planLimit: number | null = null;
  /** What has repaid debts, by the number of the grant; `newest` is greater the later it did. */
  readonly repaid = new Map<number, { tokens: number; newest: number }>();
  /** What has gone back to grants that had repaid an overdraft, by the number of the grant. */
  readonly givenBack = new Map<number, number>();
  /** What losses of payments took from a grant, each of them where it is more than it gave back, or less. */
  lossesOf: (n: number) => number[] = () => [];
  /** How much may be owed for uses. */
  overdraftLimit = 0;
  /** Told of each grant that runs out with something left. */
  onExpiry: (grant: Grant, tokens: number) => void = () => {};
  private repayments = 0;
  private readonly order: BurnOrder;

  constructor(order: BurnOrder = "fifo") {
    this.order = order;
  }

  get active(): number {
    return sum(this.grants.map((grant) => grant.left));
  }

  /** How many of them can be used for that. */
  payable(use: Use): number {
    return sum(this.queue().map((grant) => (pays(grant, use) ? grant.left : 0)));
  }

  get reserved(): number {
    return sum(this.holds.filter((hold) => hold.status === "open").map((hold) => hold.tokens));
  }

  /** Grants with tokens left in the order in which they are spent. */
  queue(): Grant[] {
    return this.inOrder(this.grants.filter((grant) => grant.left > 0));
  }

  inOrder(grants: Grant[]): Grant[] {
    // one that has no id yet is nobody's twin
    const place = (grant: Grant) => ({
      ...grant,
      expiresAt: grant.expiresAt ?? Infinity,
      id: grant.id ?? "",
    });
    const before = inBurnOrder(this.order);
    return grants.toSorted((a, b) => before(place(a), place(b)));
  }

  /**
   * @returns whether what came back with it repaid a debt, passed the plan limit or made a grant: that the
   *   books do when somebody comes by, and what has run out by then comes back to nobody
   */
  step(seconds: number): boolean {
    this.now += seconds;
    const before = [this.owed, this.planLimit, this.grants.length];
    let cameBack = this.begin();
    for (const hold of this.holds) {
      if (hold.status !== "open" || hold.expiresAt > this.now) continue;
      hold.status = "expired";
      if (this.giveBack(hold, hold.parts)) continue;
      this.putBack(hold.parts);
      cameBack = true;
    }
    this.expire();
    if (cameBack) this.repay();
    return [this.owed, this.planLimit, this.grants.length].some((now, nth) => now !== before[nth]);
  }

  grant(
    tokens: number,
    priority: number,
    lifetime: number | null,
    backdated = 0,
    paysFor: Grant["paysFor"] = null,
  ): Grant {
    const grant = this.add({
      granted: tokens,
      priority,
      grantedAt: this.now - backdated,
      expiresAt: lifetime === null ? Infinity : this.now + lifetime,
      paysFor,
    });
    this.repay();
    return grant;
  }

  promise(
    tokens: number,
    priority: number,
    begins: number,
    lifetime: number | null,
    paysFor: Grant["paysFor"],
  ): Promised {
    const startsAt = this.now + begins;
    const promised = {
      granted: tokens,
      priority,
      paysFor,
      startsAt,
      expiresAt: lifetime === null ? Infinity : startsAt + lifetime,
    };
    this.promises.push(promised);
    return promised;
  }

  callOff(promised: Promised): void {
    if (!this.promises.includes(promised)) throw new Refused("grant_not_found");
    this.promises = this.promises.filter((other) => other !== promised);
  }

  /** What a deduction of that many would be paid from; of no use, what is taken back or owed. */
  choose(tokens: number, use?: Use): Parts {
    const parts: Parts = [];
    let needed = tokens;
    for (const grant of this.queue()) {
      if (needed === 0) break;
      if (use !== undefined && !pays(grant, use)) continue;
      const taken = Math.min(grant.left, needed);
      parts.push([grant.n, taken]);
      needed -= taken;
    }
    return parts;
  }

  take(tokens: number, use?: Use): Parts {
    const parts = this.choose(tokens, use);
    for (const [n, taken] of parts) this.grants[n]!.left -= taken;
    return parts;
  }

  /** How much of that may be owed, where so much pays for it: nothing while there is more that does not. */
  mayOwe(tokens: number, payable: number): number {
    return payable < this.active ? 0 : Math.min(tokens, Math.max(this.overdraftLimit - this.owed, 0));
  }

  charge(transaction: number, tokens: number, parts: Parts, isUse: boolean, owed = 0): void {
    this.charges.set(transaction, { tokens, owed, parts, refunded: 0, isUse });
    if (isUse) this.used += tokens;
  }

  reserve(tokens: number, ttl: number, use: Use): Hold {
    const parts = this.take(tokens, use);
    const hold: Hold = {
      status: "open",
      tokens,
      parts,
      expiresAt: this.now + ttl,
      use,
      captured: 0,
      order: parts.map(([n]) => n),
    };
    this.holds.push(hold);
    return hold;
  }

  /** A part of a hold, for one call of a task. */
  split(parent: Hold, tokens: number, ttl: number, use: Use): Hold {
    if (parent.status !== "open" || parent.parent !== undefined) throw new Refused("parent_hold_ended");
    if (tokens > this.payableOf(parent, use)) throw new Refused("parent_hold_short");
    const { order } = parent;
    const parts = this.passOn(parent, tokens, use);
    const hold: Hold = {
      status: "open",
      tokens,
      parts,
      expiresAt: this.now + ttl,
      use,
      captured: 0,
      parent,
      order,
    };
    this.holds.push(hold);
    return hold;
  }

  /** What an open hold has that pays for such a use. */
  payableOf(hold: Hold, use: Use): number {
    if (!this.isOpen(hold)) return 0;
    return sum(hold.parts.map(([n, part]) => (pays(this.grants[n]!, use) ? part : 0)));
  }

  /** Takes from the front of a hold what pays for it. */
  private passOn(parent: Hold, tokens: number, use: Use): Parts {
    const taken: Parts = [];
    let needed = tokens;
    parent.parts = parent.parts.flatMap(([n, part]): Parts => {
      const some = pays(this.grants[n]!, use) ? Math.min(part, needed) : 0;
      if (some > 0) taken.push([n, some]);
      needed -= some;
      return part > some ? [[n, part - some]] : [];
    });
    parent.tokens -= tokens;
    return taken;
  }

  /** A call used more than its part: it gets more of what its parent has left. */
  grow(hold: Hold, tokens: number): void {
    hold.parts = merged(hold.parts, this.passOn(hold.parent!, tokens, hold.use), hold.order);
    hold.tokens += tokens;
  }

  private isOpen(hold: Hold): boolean {
    return hold.status === "open" && hold.expiresAt > this.now;
  }

  /** To the parent, if there is one that is open. */
  private giveBack({ parent }: Hold, rest: Parts): boolean {
    if (parent === undefined || !this.isOpen(parent)) return false;
    parent.parts = merged(parent.parts, rest, parent.order);
    parent.tokens += sum(rest.map(([, part]) => part));
    return true;
  }

  /** Settles an open hold: pays for the front of it and puts the rest back. */
  settle(hold: Hold, captured: number, status: "captured" | "released"): void {
    hold.status = status;
    hold.captured = captured;
    const rest = slice(hold.parts, captured, hold.tokens);
    if (!this.giveBack(hold, rest)) this.comeIn(rest);
  }

  /** Lets off what is owed for it and gives back what was paid last, and says what of it came too late. */
  refund(
    charge: Charge,
    tokens: number,
    reissueFor: number | null,
  ): { restored: Parts; forfeited: Parts; letOff: number } {
    const left = charge.tokens - charge.refunded;
    if (tokens > left || left === 0) throw new Refused("refund_exceeds_charge");
    const owedLeft = Math.max(charge.owed - charge.refunded, 0);
    const ofOwed = Math.min(tokens, owedLeft);
    const letOff = Math.min(ofOwed, this.owed);
    this.owed -= letOff;
    const paidLeft = left - owedLeft;
    const back: Parts = [];
    for (const [n, part] of [
      ...this.unrepay(ofOwed - letOff),
      ...slice(charge.parts, paidLeft - (tokens - ofOwed), paidLeft).toReversed(),
    ]) {
      const there = back.find(([other]) => other === n);
      if (there) there[1] += part;
      else back.push([n, part]);
    }
    charge.refunded += tokens;
    if (charge.isUse) this.used -= tokens;
    const isOver = ([n]: [number, number]) => this.grants[n]!.expiresAt <= this.now;
    const late = back.filter(isOver);
    const restored = back.filter((part) => !isOver(part));
    if (reissueFor === null || late.length === 0) {
      const all = this.comeIn(back);
      const over = ([n]: [number, number]) => this.grants[n]!.expiresAt <= this.now;
      return { restored: all.filter((part) => !over(part)), forfeited: all.filter(over), letOff };
    }
    const went = this.putBack(restored);
    // one for each of what they paid for, and of whose money it was
    const reissued = new Map<string, Parts>();
    for (const part of late) {
      const { paysFor, money } = this.grants[part[0]]!;
      const key = JSON.stringify([paysFor, money]);
      reissued.set(key, [...(reissued.get(key) ?? []), part]);
    }
    for (const parts of reissued.values()) {
      const grant = this.add({
        granted: sum(parts.map(([, part]) => part)),
        priority: 50,
        grantedAt: this.now,
        expiresAt: this.now + reissueFor,
        paysFor: this.grants[parts[0]![0]]!.paysFor,
        money: this.grants[parts[0]![0]]!.money,
      });
      went.push([grant.n, grant.granted]);
    }
    this.repay();
    return { restored: went, forfeited: [], letOff };
  }

  /** From which grants a debt was repaid, the latest first; and from which a loss took what let off a debt when it was won. */
  private unrepay(tokens: number): Parts {
    const newest = (n: number) => this.repaid.get(n)?.newest ?? 0;
    const parts: Parts = [];
    let needed = tokens;
    for (const { n } of this.inOrder([...this.grants])
      .toReversed()
      .toSorted((a, b) => Number(a.voided) - Number(b.voided) || newest(b.n) - newest(a.n))) {
      const there = (this.repaid.get(n)?.tokens ?? 0) + sum(this.lossesOf(n)) - (this.givenBack.get(n) ?? 0);
      const part = Math.min(needed, there);
      if (part <= 0) continue;
      parts.push([n, part]);
      this.givenBack.set(n, (this.givenBack.get(n) ?? 0) + part);
      needed -= part;
    }
    return parts;
  }

  setExpiry(grant: Grant, seconds: number | null): void {
    if (grant.voided) throw new Refused("grant_already_voided");
    if (grant.expiresAt <= this.now) throw new Refused("grant_has_ended");
    if (seconds !== null && seconds <= 0) throw new Refused("invalid_expiry");
    grant.expiresAt = seconds === null ? Infinity : this.now + seconds;
  }

  void(grant: Grant, takeBack: boolean): { taken: number; owed: number } {
    if (grant.voided) throw new Refused("grant_already_voided");
    // what is held stays with its hold
    const wanted = takeBack ? grant.granted - grant.notHad - this.held(grant.n) : grant.left;
    grant.voided = true;
    grant.lapsed += wanted;
    grant.expiresAt = Math.min(grant.expiresAt, this.now);
    const taken = this.clawBack(wanted, grant);
    if (takeBack) this.lower(wanted);
    return { taken: sum(taken.map(([, part]) => part)), owed: wanted - sum(taken.map(([, part]) => part)) };
  }

  /**
   * Takes tokens back: from their own grant, then from whatever would be spent next; the rest is owed.
   *
   * @returns from where
   */
  clawBack(tokens: number, own: Grant): Parts {
    const fromOwn = Math.min(own.left, tokens);
    own.left -= fromOwn;
    const parts: Parts = fromOwn > 0 ? [[own.n, fromOwn]] : [];
    parts.push(...this.take(Math.min(tokens - fromOwn, this.active)));
    for (const [n, part] of parts) this.grants[n]!.notHad += part;
    this.owed += tokens - sum(parts.map(([, part]) => part));
    return parts;
  }

  /** The plan limit goes down by what was taken back, never below the balance. */
  lower(tokens: number): void {
    if (this.planLimit !== null) this.planLimit = Math.max(this.planLimit - tokens, this.active);
  }

  /** Gives back what was taken back: to these grants, after what is owed has been let off. */
  restore(tokens: number, to: (tokens: number) => Parts): void {
    const letOff = Math.min(tokens, this.owed);
    this.owed -= letOff;
    const before = this.grants.length;
    for (const [n, part] of this.putBack(to(tokens - letOff))) {
      if (n < before) this.grants[n]!.notHad -= part;
    }
    if (this.planLimit !== null) this.planLimit += tokens;
    this.expire();
    this.repay();
  }

  /** What a closing period has left goes into a new grant; or, where it has run out, what it lost. */
  carry(from: Grant, tokens: number, wasLost: boolean, lifetime: number): Grant {
    if (wasLost) {
      this.expired -= tokens;
    } else {
      from.left -= tokens;
      from.notHad += tokens;
    }
    const carried = this.add({
      granted: tokens,
      priority: from.priority,
      grantedAt: this.now,
      expiresAt: this.now + lifetime,
      paysFor: from.paysFor,
      money: from.money,
    });
    this.repay();
    this.now += 0.0001; // what begins next is younger
    return carried;
  }

  private add(
    terms: Pick<Grant, "granted" | "priority" | "grantedAt" | "expiresAt"> &
      Partial<Pick<Grant, "paysFor" | "money">>,
  ): Grant {
    const grant: Grant = {
      paysFor: null,
      money: null,
      ...terms,
      n: this.grants.length,
      left: terms.granted,
      voided: false,
      notHad: 0,
      lapsed: 0,
    };
    this.grants.push(grant);
    return grant;
  }

  /** @returns whether anything began. */
  private begin(): boolean {
    const due = this.promises
      .filter((promised) => promised.startsAt <= this.now)
      .toSorted((a, b) => a.startsAt - b.startsAt);
    for (const { id, granted, priority, paysFor, startsAt, expiresAt } of due)
      this.add({ granted, priority, paysFor, grantedAt: startsAt, expiresAt }).id = id!;
    this.promises = this.promises.filter((promised) => !due.includes(promised));
    return due.length > 0;
  }

  private comeIn(parts: Parts): Parts {
    const went = this.putBack(parts);
    this.expire();
    this.repay();
    return went;
  }

  /** What no longer fits into its grant becomes one of its own, on the same terms. */
  private putBack(parts: Parts): Parts {
    const went: Parts = [];
    for (const [n, tokens] of parts) {
      const grant = this.grants[n]!;
      const fits = Math.min(tokens, grant.granted - grant.left - this.held(n));
      if (fits > 0) {
        grant.left += fits;
        went.push([n, fits]);
      }
      if (fits === tokens) continue;
      const { priority, grantedAt, expiresAt, paysFor, money } = grant;
      const other = this.add({ granted: tokens - fits, priority, grantedAt, expiresAt, paysFor, money });
      went.push([other.n, other.granted]);
    }
    return went;
  }

  /** What open holds have of a grant. */
  private held(n: number): number {
    const open = this.holds.filter((hold) => hold.status === "open").flatMap((hold) => hold.parts);
    return sum(open.filter(([of]) => of === n).map(([, tokens]) => tokens));
  }

  private expire(): void {
    for (const grant of this.grants) {
      if (grant.expiresAt > this.now || grant.left === 0) continue;
      this.onExpiry(grant, grant.left);
      this.expired += grant.left;
      grant.notHad += grant.left;
      grant.lapsed += grant.left;
      grant.left = 0;
    }
  }

  /** What came in pays what is owed first; what remains is never above the plan limit. */
  private repay(): void {
    const tokens = Math.min(this.owed, this.active);
    const newest = (this.repayments += 1);
    for (const [n, part] of this.take(tokens)) {
      this.repaid.set(n, { tokens: (this.repaid.get(n)?.tokens ?? 0) + part, newest });
    }
    this.owed -= tokens;
    if (this.planLimit !== null) this.planLimit = Math.max(this.planLimit, this.active);
  }
}

/** Whether a grant pays for that. */
function pays({ paysFor }: Grant, { action, model }: Use): boolean {
  const fits = (name: string) => (name.endsWith("*") ? model!.startsWith(name.slice(0, -1)) : name === model);
  return (
    (paysFor?.actions?.includes(action) ?? true) &&
    (paysFor?.models === undefined || (model !== undefined && paysFor.models.some(fits)))
  );
}

/** The parts between two points, counted in tokens from the front. */
/** Both, each grant once, in that order. */
function merged(parts: Parts, more: Parts, order: number[]): Parts {
  return order.flatMap((n): Parts => {
    const tokens = sum([...parts, ...more].map(([of, part]) => (of === n ? part : 0)));
    return tokens > 0 ? [[n, tokens]] : [];
  });
}

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
