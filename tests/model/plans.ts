/**
 * Plans and payments once more, on top of the reference model's books: written from the decisions and
 * the guide to payments, and from nothing in supabase/schemas.
 */
import type { Command, statuses } from "./any-command.ts";
import { type Books, type Grant, type Parts, Refused, sum } from "./reference.ts";

const DAY = 86_400;

export interface Plan {
  tokens: number;
  price: number;
  rank: number;
  /** Length of a period; null: it does not end. */
  days: number | null;
  /** Days for which it stays in force after a period that nobody renews. */
  grace: number;
  /** How long a period's tokens live; null: for ever. */
  lifetime: number | null;
  /** A renewal fills the balance up to this at most. */
  cap: number | null;
  /** So much of what a closing period gave is carried over, for so many days. */
  rollover: { percent: number; tokens: number; days: number } | null;
}

/** The catalogue that the random sequences are played with. */
export const catalogue: Record<string, Plan> = {
  free: { tokens: 60, price: 0, rank: 0, days: null, grace: 0, lifetime: null, cap: null, rollover: null },
  starter: { tokens: 300, price: 900, rank: 10, days: 28, grace: 3, lifetime: 30, cap: 500, rollover: null },
  pro: {
    tokens: 700,
    price: 3900,
    rank: 20,
    days: 28,
    grace: 3,
    lifetime: 28,
    cap: null,
    rollover: {
      percent: 40,
      tokens: 250,
      days: 50,
    },
  },
};

export interface Payment {
  status: "pending" | "approved" | "rejected" | "refunded";
  isManual: boolean;
  from: string | null;
  to: string;
  amount: number;
  tokens: number;
  refunded: number;
  clawed: number;
  /** Of these, how many had lapsed. */
  lapsed: number;
  /** All of its money is gone. */
  isLost: boolean;
  grant: Grant | null;
  /** What was taken back for it, grant by grant. */
  taken: Map<number, number>;
}

/** What a provider's events have said of a payment. */
export interface Facts {
  told: Told[];
  /** What was booked, or would be: the first plan that was told. */
  plan: string | null;
  payment: Payment | null;
}

export type Told = Extract<Command, { do: "event" }>;

export interface Started {
  grant: Grant | null;
  replayed: boolean;
  /** The balance when the tokens had come, and had repaid what was owed. */
  balance: number;
}

/** A period of a plan that a user has, in force or not: one for each payment, and of what nobody paid for one a plan. */
interface Term {
  plan: string;
  start: number;
  end: number | null;
  /** What follows when the period ends. */
  next: string | null;
  payment: Payment | null;
  /** All its money is gone. */
  lost: boolean;
}

export class Plans {
  /** The plan in force; or, when none is, the last one that was. */
  private main: Term | null = null;
  /** Others whose time is not over. */
  private beside: Term[] = [];
  /** By the moment at which they began: of two plans that began in one, the first. */
  private readonly periods = new Map<number, { plan: string; grant: Grant }>();
  /** Renewals of a period; whose money is gone counts no more, and of those that are left the latest does. */
  private readonly renewals: { plan: string; start: number; grant: Grant }[] = [];
  private readonly paid = new Map<Grant, Payment>();
  private readonly carried = new Set<Grant>();
  private readonly lostAtFirst = new Map<Grant, number>();

  private readonly books: Books;

  constructor(books: Books) {
    this.books = books;
    books.onExpiry = (grant, tokens) => {
      if (!this.lostAtFirst.has(grant)) this.lostAtFirst.set(grant, tokens);
    };
    books.lossesOf = (n) => [...this.paid.values()].map((one) => one.taken.get(n) ?? 0);
  }

  get plan(): string | null {
    return this.main === null || this.isOver(this.main) ? null : this.main.plan;
  }

  /** The plan in force; or, when none is, the last one that was. */
  get latest(): string | null {
    return this.main?.plan ?? null;
  }

  get start(): number | null {
    return this.main?.start ?? null;
  }

  get end(): number | null {
    return this.main?.end ?? null;
  }

  /** What a renewal would begin. */
  get toRenew(): string | null {
    return this.main === null ? null : (this.main.next ?? this.main.plan);
  }

  private isOver(term: Term, at = this.books.now): boolean {
    return term.lost || hasEnded(term, at);
  }

  /**
   * What time does by itself, and money: a lower plan without a price begins when the higher one's period ends; of
   * those that are beside one that is over, the highest takes its place, of equal ones the one that began last, and so
   * does a higher one that is back.
   */
  timePassed(): void {
    while (this.main !== null) {
      const { now } = this.books;
      const { main } = this;
      if (
        main.next !== null &&
        main.end !== null &&
        main.end <= now &&
        !main.lost &&
        catalogue[main.next]!.price === 0
      ) {
        this.main = aTerm(main.next, main.end, null);
        continue;
      }
      const isOver = this.isOver(main);
      const moment = isOver && !main.lost ? endsAt(main) : now;
      const [best] = this.beside
        .filter((one) => !this.isOver(one, moment) && (isOver || isHigher(one, main)))
        .toSorted((x, y) => (isHigher(x, y) ? -1 : isHigher(y, x) ? 1 : 0));
      if (best === undefined) return;
      this.beside = [...this.beside.filter((one) => one !== best), main].filter(
        (one) => !hasEnded(one, moment),
      );
      this.main = best;
    }
  }

  ask(to: string): Payment {
    const plan = catalogue[to];
    if (plan === undefined) throw new Refused("plan_not_found");
    return aPayment(this.plan, to, plan, true);
  }

  approve(payment: Payment): Started {
    if (payment.status === "approved")
      return { grant: payment.grant, replayed: true, balance: this.books.active };
    if (payment.status !== "pending") throw new Refused("payment_already_decided");
    payment.status = "approved";
    return this.begin(payment.to, null, payment);
  }

  /** @returns whether it had been before */
  reject(payment: Payment): boolean {
    if (payment.status === "rejected") return true;
    if (payment.status !== "pending") throw new Refused("payment_already_decided");
    payment.status = "rejected";
    return false;
  }

  /** `refunded` is what went back in all; returns whether that was known. */
  refund(payment: Payment, refunded: number | null): boolean {
    if (payment.status !== "approved" && payment.status !== "refunded")
      throw new Refused("payment_already_decided");
    const most = Math.max(payment.amount, 1);
    const inAll = refunded ?? most;
    if (inAll > most || inAll < 0) throw new Refused("invalid_amount");
    const wasKnown = inAll === payment.refunded;
    this.settle(payment, inAll, 0);
    return wasKnown;
  }

  /** What is to be begun now, or null: the lower plan has been noted down for the end of the period. */
  change(to: string): Started | null {
    const plan = catalogue[to];
    if (plan === undefined) throw new Refused("plan_not_found");
    this.timePassed();
    const { main } = this;
    const isRunning = this.plan !== null && main!.end !== null && main!.end > this.books.now;
    if (isRunning && precedenceOf(aTerm(to, 0, null)) < precedenceOf(main!)) {
      main!.next = to;
      return null;
    }
    return this.begin(to, null, null);
  }

  /** The next period, or (which changes nothing) the present one again. Of a plan that is over it begins now. */
  renew(period: "this" | null): Started {
    this.timePassed();
    const { main } = this;
    if (main === null) throw new Refused("subscription_not_found");
    const known = this.grantOf(main.plan, main.start);
    if (period === "this" && known !== undefined)
      return { grant: known, replayed: true, balance: this.books.active };
    if (period === "this") throw new Refused("not_due_yet");
    if (main.end === null || main.end > this.books.now) throw new Refused("not_due_yet");
    return this.begin(this.toRenew!, this.isOver(main) ? this.books.now : main.end, null, true);
  }

  /** Brings the books to what is known of a provider's payment. */
  settleFacts(facts: Facts, period: number | null): Payment | null {
    if (facts.plan === null) return null;
    if (facts.payment === null) {
      facts.payment = aPayment(this.plan, facts.plan, catalogue[facts.plan]!, false);
      facts.payment.status = "approved";
      facts.payment.amount = amountOf(facts);
      this.begin(facts.plan, period, facts.payment);
    }
    const { payment, told } = facts;
    payment.amount = amountOf(facts);

    const refunds = latest(told, "refund");
    const gone = refunds.filter(({ status }) => status < 2);
    const [total] = told.filter(({ kind }) => kind === "refunded").toSorted(later);
    const bounced = refunds.filter(({ status, at }) => status >= 2 && total !== undefined && at >= total.at);
    const refunded = Math.min(
      payment.amount,
      Math.max(sumOf(gone, 0), (total?.cents ?? 0) - sumOf(bounced, 0)),
    );
    const withheld = latest(told, "dispute").filter(({ status }) => status === 1 || status === 3);
    const disputed = Math.min(payment.amount - refunded, sumOf(withheld, payment.amount));
    this.settle(payment, refunded, disputed);
    return payment;
  }

  /** A period of a plan, once per payment and once per period: the tokens are added, and the plan limit is the balance. */
  private begin(to: string, period: number | null, payment: Payment | null, isRenewal = false): Started {
    this.timePassed();
    const { books } = this;
    const plan = catalogue[to]!;
    const start = period ?? books.now;
    const known = this.grantOf(to, start);
    if (known !== undefined && (payment === null || !this.paid.has(known))) {
      // it was begun before its payment came: this is what that payment paid for
      if (payment !== null) {
        this.pay(payment, known);
        for (const term of [this.main, ...this.beside])
          if (term?.payment === null && term.plan === to && term.start === start) term.payment = payment;
      }
      return { grant: known, replayed: true, balance: books.active };
    }
    this.putOn(aTerm(to, start, payment));
    const tokens =
      plan.cap !== null && isRenewal ? Math.min(plan.tokens, plan.cap - books.active) : plan.tokens;
    const grant =
      tokens > 0 ? books.grant(tokens, 50, plan.lifetime === null ? null : plan.lifetime * DAY) : null;
    if (grant !== null) {
      if (!this.periods.has(start)) this.periods.set(start, { plan: to, grant });
      if (isRenewal) this.renewals.push({ plan: to, start, grant });
      if (payment !== null) this.pay(payment, grant);
    }
    books.planLimit = books.active;
    return { grant, replayed: false, balance: books.active };
  }

  /** A plan's new period: in the place of what is in force, or beside it when that is higher. Each payment keeps its own. */
  private putOn(term: Term): void {
    const { main } = this;
    const { now } = this.books;
    const isRunning = main !== null && !this.isOver(main);
    const isPast = hasEnded(term, now);
    const follows = main?.next === term.plan && main.end !== null && main.end <= term.start;
    const isBeside =
      term.payment !== null &&
      main !== null &&
      !follows &&
      (isRunning ? isPast || isHigher(main, term) : isPast && term.start < main.start);
    if (isRunning && !isBeside && main.start < term.start) this.carryOver(term.start);
    if (isBeside) {
      this.beside.push(term);
    } else {
      // somebody has said that a lower one counts: the higher one is over
      const stays =
        main !== null &&
        (main.payment !== null
          ? !isRunning || !isHigher(main, term)
          : main.plan !== term.plan && (!isRunning || precedenceOf(main) <= precedenceOf(term)));
      if (stays) this.beside.push(main);
      this.main = term;
    }
    const replaced = [term.plan, this.main!.plan];
    this.beside = this.beside.filter(
      (one) => !hasEnded(one, now) && (one.payment !== null || !replaced.includes(one.plan)),
    );
    this.timePassed();
  }

  private grantOf(plan: string, start: number): Grant | undefined {
    const period = this.periods.get(start);
    if (period?.plan !== plan) return undefined;
    const isGone = ({ grant }: { grant: Grant }) => this.paid.get(grant)?.isLost ?? false;
    return isGone(period)
      ? this.renewals.findLast((one) => one.plan === plan && one.start === start && !isGone(one))?.grant
      : period.grant;
  }

  /** Grants of closed periods, and what their tokens were carried into. */
  private readonly carriedInto: [Grant, Grant][] = [];

  private pay(payment: Payment, grant: Grant): void {
    this.paid.set(grant, payment);
    payment.grant = grant;
    payment.tokens = grant.granted;
    grant.money = grant.n;
    for (const [closed, into] of this.carriedInto) if (closed === grant) into.money = grant.n;
  }

  /** What a closing period has left, or lost when it ran out with it, goes into a grant of its own. */
  private carryOver(next: number): void {
    const { books } = this;
    const closing = this.grantOf(this.main!.plan, this.main!.start);
    const terms = catalogue[this.main!.plan]!.rollover;
    if (terms === null || closing === undefined || closing.voided || this.carried.has(closing)) return;
    if (closing.expiresAt >= books.now + terms.days * DAY) return;
    const hasRunOut = closing.expiresAt <= books.now && closing.expiresAt >= next;
    const left = hasRunOut ? (this.lostAtFirst.get(closing) ?? 0) : closing.left;
    const tokens = Math.min(left, terms.tokens, Math.floor((closing.granted * terms.percent) / 100));
    if (tokens === 0) return;
    this.carried.add(closing);
    this.carriedInto.push([closing, books.carry(closing, tokens, hasRunOut, terms.days * DAY)]);
  }

  /** Tokens and plan as what was lost of the money asks: what went back in all, and what disputes withhold. */
  private settle(payment: Payment, refunded: number, disputed: number): void {
    const { books } = this;
    const lost = refunded + disputed;
    const isAll = lost > 0 && lost >= payment.amount;
    const wanted = isAll
      ? payment.tokens
      : lost === 0
        ? 0
        : Math.floor((payment.tokens * lost) / payment.amount);
    const more = wanted - payment.clawed;
    if (more > 0) {
      // nobody has that any more, and nobody owes it
      const gone = Math.max(0, Math.min(more, payment.grant!.lapsed - payment.lapsed));
      payment.lapsed += gone;
      for (const [n, part] of books.clawBack(more - gone, payment.grant!))
        payment.taken.set(n, (payment.taken.get(n) ?? 0) + part);
      books.lower(more - gone);
    } else if (more < 0) {
      const gone = Math.max(0, payment.lapsed - wanted);
      payment.lapsed -= gone;
      books.restore(-more - gone, (tokens) => this.whereFrom(payment, tokens));
    }
    payment.clawed = wanted;
    payment.refunded = refunded;
    payment.status = refunded > 0 && refunded >= payment.amount ? "refunded" : "approved";

    // the plan that it bought is in force unless all of it was taken back
    payment.isLost = isAll;
    for (const term of [this.main, ...this.beside]) if (term?.payment === payment) term.lost = isAll;
    this.timePassed();
  }

  /**
   * Those that were drawn upon, its own last, what would be spent last before the rest; then those that have repaid a debt,
   * the latest first; then its own grant.
   */
  private whereFrom(payment: Payment, tokens: number): Parts {
    const { books } = this;
    const own = payment.grant!.n;
    const parts: Parts = [];
    let left = tokens;
    const give = (n: number, most: number) => {
      const part = Math.min(left, most);
      if (part <= 0) return;
      payment.taken.set(n, (payment.taken.get(n) ?? 0) - part);
      const there = parts.find(([other]) => other === n);
      if (there) there[1] += part;
      else parts.push([n, part]);
      left -= part;
    };
    const lastFirst = (numbers: Iterable<number>) =>
      books
        .inOrder([...numbers].map((n) => books.grants[n]!))
        .toReversed()
        .toSorted((a, b) => Number(a.n === own) - Number(b.n === own))
        .map(({ n }) => n);

    for (const n of lastFirst(payment.taken.keys())) give(n, payment.taken.get(n)!);
    const repaid = lastFirst(books.repaid.keys()).toSorted(
      (a, b) =>
        Number(books.grants[a]!.voided) - Number(books.grants[b]!.voided) ||
        Number(a === own) - Number(b === own) ||
        books.repaid.get(b)!.newest - books.repaid.get(a)!.newest,
    );
    const hasBack = (n: number) =>
      sum([...this.paid.values()].map((one) => Math.max(0, -(one.taken.get(n) ?? 0))));
    for (const n of repaid) give(n, books.repaid.get(n)!.tokens - hasBack(n) - (books.givenBack.get(n) ?? 0));
    give(own, left);
    return parts;
  }
}

/** The later one first: what was told of one moment in the order of what it ends in, and the higher amount. */
const later = (a: Told, b: Told) =>
  b.at - a.at || (a.kind === "refunded" ? 0 : b.status - a.status) || centsOf(b) - centsOf(a) || 0;
const centsOf = ({ kind, cents }: Told) => cents ?? (kind === "dispute" ? Infinity : 0);

/** Each refund or dispute as it was told last. */
function latest(told: Told[], kind: keyof typeof statuses): Told[] {
  const of = told.filter((one) => one.kind === kind).toSorted(later);
  return of.filter((one, i) => of.findIndex(({ id }) => id === one.id) === i);
}

/** Of several, with what an amount is that was left out. */
const sumOf = (told: Told[], whole: number) => sum(told.map(({ cents }) => cents ?? whole));

function aPayment(from: string | null, to: string, plan: Plan, isManual: boolean): Payment {
  return {
    status: "pending",
    isManual,
    from,
    to,
    amount: plan.price,
    tokens: plan.tokens,
    refunded: 0,
    clawed: 0,
    lapsed: 0,
    isLost: false,
    grant: null,
    taken: new Map(),
  };
}

function aTerm(plan: string, start: number, payment: Payment | null): Term {
  const { days } = catalogue[plan]!;
  const end = days === null ? null : start + days * DAY;
  return { plan, start, end, next: null, payment, lost: false };
}

/** What somebody pays for before what nobody does, then the rank. */
const precedenceOf = ({ plan, payment }: Term) => {
  const { rank, price } = catalogue[plan]!;
  return rank + (price > 0 || (payment !== null && payment.amount !== 0) ? 1_000 : 0);
};

/** Whether one comes before the other: the higher plan, and of equal ones the one that began last. */
const isHigher = (one: Term, other: Term) => {
  const higher = precedenceOf(one) - precedenceOf(other);
  return higher > 0 || (higher === 0 && one.start > other.start);
};

/** The largest that was told; without one, the price. */
const amountOf = ({ told, payment, plan }: Facts) => {
  const paid = told.flatMap(({ kind, cents }) => (kind === "paid" && cents !== null ? cents : []));
  return paid.length > 0 ? Math.max(...paid) : catalogue[payment?.to ?? plan!]!.price;
};

/** When its grace ends. */
const endsAt = ({ plan, end }: Term) => (end === null ? Infinity : end + catalogue[plan]!.grace * DAY);

const hasEnded = (term: Term, at: number) => endsAt(term) <= at;
