/**
 * What a plan with a schedule gives, once more: written from docs/guides/grant-schedules.md and from nothing in
 * supabase/schemas. Slots are listed one after the other, where the SQL counts them.
 */

export interface Schedule {
  every: "day" | "week" | "month";
  on: "anniversary" | "calendar";
  /** Of a slot. */
  tokens: number;
  /** A slot gives no more than what fills up to this; null: it adds. */
  refill: number | null;
  /** Days of 24 hours that its tokens live; null: for ever. */
  lifetime: number | null;
}

/** Moments are milliseconds since 1970. */
type Moment = number;

const DAY = 86_400_000;

/** When the slot of that number begins, of a period that began then. */
export function slotStart(schedule: Schedule, begins: Moment, number: number): Moment {
  if (number === 0) return begins;
  const from = new Date(begins);
  const calendar = schedule.on === "calendar";
  if (schedule.every === "month") {
    const month = from.getUTCMonth() + number;
    if (calendar) return Date.UTC(from.getUTCFullYear(), month, 1);
    const daysOfMonth = new Date(Date.UTC(from.getUTCFullYear(), month + 1, 0)).getUTCDate();
    return Date.UTC(from.getUTCFullYear(), month, Math.min(from.getUTCDate(), daysOfMonth)) + (begins % DAY);
  }
  const length = schedule.every === "day" ? DAY : 7 * DAY;
  if (!calendar) return begins + number * length;
  const midnight = begins - (begins % DAY);
  // Sunday is 0, and a week begins on Monday
  const first = schedule.every === "day" ? midnight : midnight - ((from.getUTCDay() + 6) % 7) * DAY;
  return first + number * length;
}

/** A grant, or one that is due. */
export interface Lot {
  granted: number;
  left: number;
  /** Set aside by holds. */
  held: number;
  /** Its place in the queue. */
  since: Moment;
  expires: Moment;
  isOfThePlan: boolean;
}

/** Tokens that are set aside until then. */
export interface Hold {
  parts: { lot: Lot; tokens: number }[];
  expires: Moment;
  isOpen: boolean;
}

/** A user on a plan with a schedule. */
export class Account {
  lots: Lot[] = [];
  holds: Hold[] = [];
  isFrozen = false;
  /** The number of the first slot that is not booked. */
  private next = 1;

  readonly schedule: Schedule;
  readonly begins: Moment;
  /** When its slots end; Infinity: never. */
  readonly ends: Moment;

  constructor(schedule: Schedule, begins: Moment, ends: Moment) {
    this.schedule = schedule;
    this.begins = begins;
    this.ends = ends;
    this.lots.push(this.lot(schedule.tokens, begins, begins));
  }

  private lot(tokens: number, since: Moment, lifeFrom: Moment): Lot {
    const { lifetime } = this.schedule;
    const expires = lifetime === null ? Infinity : lifeFrom + lifetime * DAY;
    return { granted: tokens, left: tokens, held: 0, since, expires, isOfThePlan: true };
  }

  /** What is due and not booked at that moment, oldest first. */
  due(at: Moment): Lot[] {
    if (this.isFrozen) return [];
    const begun: Moment[] = [];
    for (let number = this.next; ; number++) {
      const start = slotStart(this.schedule, this.begins, number);
      if (start > at || start >= this.ends) break;
      begun.push(start);
    }
    const newest = begun.at(-1);
    if (newest === undefined) return [];
    const { tokens, refill, lifetime } = this.schedule;
    if (refill !== null) {
      const had = this.lots
        .filter((lot) => lot.isOfThePlan && lot.expires > newest)
        .reduce((sum, lot) => sum + lot.left + lot.held, 0);
      const lot = this.lot(Math.min(tokens, refill - had), newest, newest);
      return lot.granted > 0 && lot.expires > at ? [lot] : [];
    }
    if (lifetime === null) return [this.lot(tokens * begun.length, newest, newest)];
    return begun.map((start) => this.lot(tokens, start, start)).filter((lot) => lot.expires > at);
  }

  /** What can be spent. */
  balance(at: Moment): number {
    const there = [...this.lots, ...this.due(at)].filter((lot) => lot.expires > at);
    const back = this.holds
      .filter((hold) => hold.isOpen && hold.expires <= at)
      .flatMap(({ parts }) => parts)
      .filter(({ lot }) => lot.expires > at);
    return [...there.map(({ left }) => left), ...back.map(({ tokens }) => tokens)].reduce(
      (sum, one) => sum + one,
      0,
    );
  }

  /** What every call that locks the account does first. */
  touch(at: Moment): void {
    const due = this.due(at);
    for (const hold of this.holds) if (hold.expires <= at) this.close(hold);
    if (this.isFrozen) return;
    this.lots.push(...due);
    while (slotStart(this.schedule, this.begins, this.next) <= Math.min(at, this.ends - 1)) this.next++;
  }

  /** Spends, or takes aside, oldest first, all or nothing. */
  take(tokens: number, at: Moment, isHeld = false): Hold["parts"] | null {
    if (this.balance(at) < tokens) return null;
    this.touch(at);
    const taken: Hold["parts"] = [];
    let wanted = tokens;
    for (const lot of this.lots.toSorted((one, other) => one.since - other.since)) {
      const part = lot.expires > at ? Math.min(lot.left, wanted) : 0;
      if (part === 0) continue;
      lot.left -= part;
      if (isHeld) lot.held += part;
      wanted -= part;
      taken.push({ lot, tokens: part });
    }
    return taken;
  }

  /** Sets tokens aside for so long. */
  hold(tokens: number, at: Moment, lifetime: number): Hold | null {
    const parts = this.take(tokens, at, true);
    if (parts === null) return null;
    const hold = { parts, expires: at + lifetime, isOpen: true };
    this.holds.push(hold);
    return hold;
  }

  /** Gives back what was set aside. */
  release(hold: Hold, at: Moment): void {
    this.touch(at);
    this.close(hold);
  }

  private close(hold: Hold): void {
    if (!hold.isOpen) return;
    hold.isOpen = false;
    for (const { lot, tokens } of hold.parts) {
      lot.held -= tokens;
      lot.left += tokens;
    }
  }

  /** Tokens that are not the plan's, and live for ever. */
  pack(tokens: number, at: Moment): void {
    this.touch(at);
    this.lots.push({
      granted: tokens,
      left: tokens,
      held: 0,
      since: at,
      expires: Infinity,
      isOfThePlan: false,
    });
  }

  freeze(at: Moment): void {
    this.touch(at);
    this.isFrozen = true;
  }

  unfreeze(at: Moment): void {
    this.isFrozen = false;
    while (slotStart(this.schedule, this.begins, this.next + 1) <= at) this.next++;
  }
}

/** A plan that somebody pays for: what a slot gives, or a period where there is no schedule, for ever. */
export interface PaidPlan {
  name: string;
  cycle: "28day" | "annual";
  cents: number;
  tokens: number;
  rank: number;
  schedule: Schedule | null;
}

/** A payment for a period of a plan, and what became of its money. */
export class Payment {
  readonly plan: PaidPlan;
  readonly begins: Moment;
  readonly ends: Moment;
  refunded = 0;
  isDisputed = false;

  constructor(plan: PaidPlan, begins: Moment) {
    this.plan = plan;
    this.begins = begins;
    // a year is twelve months: what began on a leap day ends on the 28th
    const months: Schedule = { every: "month", on: "anniversary", tokens: 0, refill: null, lifetime: null };
    this.ends = plan.cycle === "28day" ? begins + 28 * DAY : slotStart(months, begins, 12);
  }

  /** Of its money, what is gone. */
  get lost(): number {
    return this.isDisputed ? this.plan.cents : this.refunded;
  }

  /** What it has given by then and not had taken back: a slot as it begins, and of all of them the share that was kept. */
  keeps(at: Moment): number {
    const { schedule, tokens, cents } = this.plan;
    let slots = 1;
    const until = Math.min(at, this.ends - 1);
    if (schedule) while (slotStart(schedule, this.begins, slots) <= until) slots++;
    return tokens * slots - Math.floor((tokens * slots * this.lost) / cents);
  }
}

/** Which of them is in force then: of those whose money is not gone and whose time, with grace, is not over, the highest. */
export function inForce(payments: Payment[], at: Moment): PaidPlan | null {
  const there = payments.filter(({ plan, lost, ends }) => lost < plan.cents && ends + 3 * DAY > at);
  return there.map(({ plan }) => plan).toSorted((one, other) => other.rank - one.rank)[0] ?? null;
}
