/**
 * Stories that providers tell of one payment, and what they come to: computed here from what was told alone, in
 * other words than the books', so that a fault of theirs cannot hide itself.
 */
import type pg from "pg";
import type { Dice } from "../../support/dice.ts";
import type { Database } from "../../support/database.ts";

/** What every user has before, and what the payment buys. */
export const FREE = 10_000;
export const STARTER = { plan: "starter", tokens: 400_000, price: 900 };

/** One fact: under which payment's id, in which event, and what it says. */
export interface Told {
  /** Left out: Stripe's. */
  provider?: "paypal";
  payment: string;
  event: string;
  facts: { kind: string; occurred_at: string; [field: string]: unknown };
}

/** What happens, in order. */
export type Step =
  | ({ do: "tell" } & Told)
  | { do: "spend"; tokens: number }
  | { do: "grant"; tokens: number };

/** What is left of the money, and what follows from it. */
export interface Kept {
  amount: number;
  refunded: number;
  disputed: number;
  /** Of the payment's tokens, those that were taken back. */
  takenBack: number;
  plan: string;
}

const at = (second: number) => new Date(Date.UTC(2026, 10, 1, 12, 0, second)).toISOString();

/** A fact of the story, at that second of it. */
export const tell = (
  second: number,
  facts: Record<string, unknown> & { kind: string },
  payment = "a",
  event?: string,
): Told => ({
  payment,
  event: event ?? JSON.stringify([second, payment, facts]).replaceAll(/[^A-Za-z0-9]+/g, "."),
  facts: { occurred_at: at(second), ...facts },
});

/** Facts, at a second of the story. */
export const fact = {
  paid: (second: number, more: Record<string, unknown> = {}, payment = "a") =>
    tell(second, { kind: "paid", plan_type: "starter", currency: "usd", ...more }, payment),
  refund: (second: number, id: number, amount_cents: number, status: string, payment = "a") =>
    tell(second, { kind: "refund", refund_id: `re.${id}`, status, amount_cents }, payment),
  total: (second: number, refunded_cents: number, payment = "a") =>
    tell(second, { kind: "refunded", refunded_cents }, payment),
  credit: (second: number, id: number, amount_cents: number, payment = "a") =>
    tell(second, { kind: "credit", credit_id: `in.${id}`, amount_cents }, payment),
  dispute: (second: number, id: number, status: string, amount_cents?: number) =>
    tell(second, { kind: "dispute", dispute_id: `dp.${id}`, status, amount_cents }),
  reversal: (second: number, id: number, amount_cents: number) =>
    tell(second, { kind: "dispute", dispute_id: `rv.${id}`, status: "reversed", amount_cents }),
};

/** The same story, told by PayPal. */
const atPaypal = (story: Told[]): Told[] => story.map((told) => ({ ...told, provider: "paypal" }));

/** Short ones, each of which some fault tells apart: they can be told in every order there is. */
export const telling: Record<string, Told[]> = {
  "one dispute lost, another won": [
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open"),
    fact.dispute(2, 2, "open"),
    fact.dispute(3, 2, "lost"),
    fact.dispute(4, 1, "won"),
  ],
  "refunds of which one fails": [
    fact.paid(0, { amount_cents: 900 }),
    fact.refund(1, 1, 300, "succeeded"),
    fact.refund(2, 2, 600, "pending"),
    fact.total(2, 900),
    fact.refund(3, 2, 600, "failed"),
  ],
  "running totals, the last of which is the smaller one": [
    fact.paid(0, { amount_cents: 900 }),
    fact.total(1, 300),
    fact.total(2, 900),
    fact.total(3, 600),
  ],
  "two amounts and a refund": [
    fact.paid(0),
    fact.paid(1, { amount_cents: 900 }),
    fact.paid(2, { amount_cents: 1_125 }),
    fact.total(3, 225),
  ],
  "a reversal that comes after the dispute was won": [
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open", 300),
    fact.dispute(2, 1, "won", 300),
    fact.reversal(3, 1, 300),
  ],
  "a reversal just before the dispute that it is because of, which is won and taken up again": [
    fact.paid(0, { amount_cents: 900 }),
    fact.reversal(1, 1, 300),
    fact.dispute(2, 1, "open", 300),
    fact.dispute(3, 1, "won", 300),
    fact.dispute(4, 1, "lost", 300),
  ],
  "a reversal of more than the open dispute is about": [
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open", 100),
    fact.reversal(2, 1, 500),
    fact.dispute(3, 1, "won", 100),
  ],
  "a dispute of a part is over, and then more is taken back": [
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open", 100),
    fact.dispute(2, 1, "lost", 100),
    fact.reversal(3, 1, 700),
  ],
  "credited for unused time, beside a refund and its total": [
    fact.paid(0, { amount_cents: 900 }),
    fact.credit(1, 1, 450),
    fact.credit(2, 2, 100),
    fact.refund(3, 1, 225, "succeeded"),
    fact.total(3, 225),
  ],
  "refunds in another currency, one of which fails": [
    fact.paid(0, { amount_cents: 900 }),
    tell(1, { kind: "refund", refund_id: "re.1", status: "pending", amount_cents: 5, currency: "jpy" }),
    fact.refund(2, 2, 225, "succeeded"),
    tell(3, { kind: "refund", refund_id: "re.1", status: "failed", amount_cents: 5, currency: "jpy" }),
    tell(4, { kind: "refund", refund_id: "re.3", status: "succeeded", amount_cents: 5, currency: "jpy" }),
  ],
  "PayPal tells one loss as a refund and as a dispute that is lost, and a refund of before it": atPaypal([
    fact.paid(0, { amount_cents: 900 }),
    fact.refund(1, 1, 100, "succeeded"),
    fact.dispute(2, 1, "inquiry", 300),
    fact.refund(3, 2, 300, "succeeded"),
    fact.dispute(4, 1, "lost", 300),
  ]),
  "PayPal tells of a refund of more than the first of two disputes that are lost": atPaypal([
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open", 200),
    fact.refund(2, 1, 300, "pending"),
    fact.dispute(3, 2, "open", 300),
    fact.dispute(4, 2, "lost", 300),
    fact.dispute(5, 1, "lost", 200),
  ]),
  "Stripe tells of a refund and of a dispute that is lost: two losses": [
    fact.paid(0, { amount_cents: 900 }),
    fact.dispute(1, 1, "open", 300),
    fact.refund(2, 1, 300, "succeeded"),
    fact.dispute(3, 1, "lost", 300),
  ],
  "two payments of one invoice, both refunded": [
    fact.paid(0, { amount_cents: 900, parts: ["b"] }),
    fact.paid(1, { amount_cents: 900 }, "b"),
    fact.total(2, 300),
    fact.total(3, 600, "b"),
  ],
};

/** By the provider's time, then as events are told apart. */
const order = (x: Told, y: Told) =>
  x.facts.occurred_at.localeCompare(y.facts.occurred_at) || x.event.localeCompare(y.event);

/** What is left when all of that was told of one payment or an invoice's parts; null when nothing was paid. */
export function kept(told: readonly Told[]): Kept | null {
  // of a part that nobody has called one, and that was not paid, nothing is known
  const parts = new Set(
    told.flatMap(({ payment, facts }) =>
      facts.kind === "paid" ? [payment, ...((facts["parts"] as string[] | undefined) ?? [])] : [],
    ),
  );
  const story = told.filter(({ payment }) => parts.has(payment));
  const of = (kind: string) => story.filter(({ facts }) => facts.kind === kind);
  const number = (one: Told, field: string) => one.facts[field] as number | undefined;
  const paid = of("paid");
  if (paid.length === 0) return null;

  const amounts = paid.flatMap((one) => number(one, "amount_cents") ?? []);
  const amount = amounts.length > 0 ? Math.max(...amounts) : STARTER.price;

  // in the currency that was paid: what is in another, and a dispute that says no amount, is all of it
  const currency = story
    .toSorted((x, y) => Number(x.facts.kind !== "paid") - Number(y.facts.kind !== "paid") || order(x, y))
    .flatMap(({ facts }) => (facts["currency"] as string | undefined)?.toLowerCase() ?? [])[0];
  const cents = (one: Told, field = "amount_cents") => {
    const its = (one.facts["currency"] as string | undefined)?.toLowerCase();
    const isOther = its !== undefined && currency !== undefined && its !== currency;
    return isOther ? amount : (number(one, field) ?? amount);
  };

  // how each refund and each dispute ended: of one moment, what ends it after what begins it
  const rankIn =
    (statuses: string[]) =>
    ({ facts }: Told) =>
      facts.occurred_at +
      statuses.indexOf(facts["status"] as string) +
      String((facts["amount_cents"] as number | undefined) ?? 9e15).padStart(16, "0");
  const ends = (kind: string, id: string, statuses: string[]) => {
    const last = new Map<string, Told>();
    const rank = rankIn(statuses);
    for (const one of of(kind)) {
      const name = one.facts[id] as string;
      const before = last.get(name);
      if (before === undefined || rank(before) < rank(one)) last.set(name, one);
    }
    return [...last.values()];
  };
  const refunds = ends("refund", "refund_id", ["pending", "succeeded", "canceled", "failed"]);
  const states = ["inquiry", "reversed", "open", "won", "lost"];
  const disputes = ends("dispute", "dispute_id", states);

  let refunded = 0;
  for (const part of parts) {
    const here = refunds.filter(({ payment }) => payment === part);
    const [total] = of("refunded")
      .filter(({ payment }) => payment === part)
      .sort(
        (a, b) =>
          b.facts.occurred_at.localeCompare(a.facts.occurred_at) ||
          number(b, "refunded_cents")! - number(a, "refunded_cents")!,
      );
    let [byId, failed] = [0, 0];
    for (const one of here) {
      if (one.facts["status"] === "pending" || one.facts["status"] === "succeeded") byId += cents(one);
      else if (total !== undefined && one.facts.occurred_at >= total.facts.occurred_at) failed += cents(one);
    }
    refunded += Math.max(byId, total === undefined ? 0 : cents(total, "refunded_cents") - failed);
  }
  // what was credited is gone too, each credit once
  const credited = new Map(of("credit").map((one) => [one.facts["credit_id"], cents(one)]));
  for (const credit of credited.values()) refunded += credit;
  refunded = Math.min(refunded, amount);

  /** What a dispute holds, and what more of it a reversal may be: the most that it was ever about. */
  const cases = disputes
    .filter(({ facts }) => facts["status"] !== "reversed")
    .flatMap((end) => {
      const course = of("dispute")
        .filter(({ facts }) => facts["dispute_id"] === end.facts["dispute_id"])
        .filter(({ facts }) => ["open", "won", "lost"].includes(facts["status"] as string))
        .toSorted((x, y) => (rankIn(states)(x) < rankIn(states)(y) ? -1 : 1));
      if (course.length === 0) return []; // an inquiry alone
      const most = Math.max(...course.map((one) => cents(one)));
      return [
        {
          course,
          most,
          finally: cents(end),
          room: most,
        },
      ];
    })
    .toSorted(
      (x, y) =>
        x.course[0]!.facts.occurred_at.localeCompare(y.course[0]!.facts.occurred_at) ||
        String(x.course[0]!.facts["dispute_id"]).localeCompare(String(y.course[0]!.facts["dispute_id"])),
    );
  // PayPal tells what a lost dispute came to as a refund too: each that was made since it began pays for it, once
  const first = (kind: string, id: string, name: unknown) =>
    of(kind)
      .flatMap(({ facts }) => (facts[id] === name ? facts.occurred_at : []))
      .toSorted()[0]!;
  const made = refunds
    .filter(
      ({ provider, facts }) =>
        provider === "paypal" && !["failed", "canceled"].includes(facts["status"] as string),
    )
    .map((one) => ({ at: first("refund", "refund_id", one.facts["refund_id"]), left: cents(one) }));
  const begun = (end: Told) => first("dispute", "dispute_id", end.facts["dispute_id"]);
  let disputed = 0;
  for (const end of disputes.toSorted((x, y) => begun(y).localeCompare(begun(x)))) {
    if (!["open", "lost"].includes(end.facts["status"] as string)) continue;
    let held = cents(end);
    for (const refund of made.filter(
      ({ at: when }) => end.facts["status"] === "lost" && when >= begun(end),
    )) {
      const paidSo = Math.min(held, refund.left);
      held -= paidSo;
      refund.left -= paidSo;
    }
    disputed += held;
  }
  for (const reversal of disputes.filter(({ facts }) => facts["status"] === "reversed")) {
    const when = reversal.facts.occurred_at;
    const its = cents(reversal);
    const ofIts = ({ most, finally: last }: (typeof cases)[number]) => its === most || its === last;
    const mayBe = cases.filter((one) => {
      const until = one.course.filter(({ facts }) => facts.occurred_at <= when);
      const state = until.at(-1)?.facts["status"];
      if (state === "open") return true;
      // what was won is settled, unless it is taken up again
      const isTakenUp = one.course
        .slice(until.length)
        .some(({ facts }) => facts["status"] === "open" || facts["status"] === "lost");
      return ofIts(one) && (state !== "won" || isTakenUp);
    });
    const dispute = mayBe.find(ofIts) ?? mayBe[0];
    // the dispute says how that much of it ends; the rest is gone
    const covered = Math.min(its, dispute?.room ?? 0);
    if (dispute !== undefined) dispute.room -= covered;
    disputed += its - covered;
  }
  disputed = Math.min(disputed, amount - refunded);
  const lost = refunded + disputed;
  const isAll = lost > 0 && lost >= amount;
  return {
    amount,
    refunded,
    disputed,
    // the tokens that are not taken back are those that the rest of the money has paid for, rounded up
    takenBack: isAll
      ? STARTER.tokens
      : STARTER.tokens - Math.ceil((STARTER.tokens * (amount - lost)) / amount),
    plan: isAll ? "free" : STARTER.plan,
  };
}

/**
 * A story by chance, of ten facts and more: paid in one or several amounts, or without one; three refunds and two
 * disputes from their beginning to some end, running totals, reversals, credits; sometimes in two payments for one invoice, sometimes
 * with one event id for two contents, sometimes PayPal's.
 */
export function anyStory(dice: Dice): Told[] {
  const story: Told[] = [];
  const second = () => dice.below(30);
  const isOfTwo = dice.chance(0.3);
  const part = () => (isOfTwo && dice.chance(0.4) ? "b" : "a");
  const paid = (payment: string, facts: Record<string, unknown> = {}, event?: string) =>
    story.push(tell(second(), { kind: "paid", plan_type: STARTER.plan, ...facts }, payment, event));

  if (isOfTwo) {
    paid("a", { amount_cents: 900, currency: "usd", parts: ["b"] });
    if (dice.chance(0.3)) paid("b", { amount_cents: 900, currency: "usd" });
    if (dice.chance(0.3)) paid("b", { parts: ["a"] });
  } else {
    paid("a", dice.any([{}, { amount_cents: 900, currency: "usd" }]));
    if (dice.chance(0.5)) paid("a", { amount_cents: dice.any([800, 900, 1_125]), currency: "USD" });
    if (dice.chance(0.3)) {
      paid("a", { amount_cents: 700 }, "evt.same");
      paid("a", { amount_cents: 1_000 }, "evt.same");
    }
  }
  for (const id of ["re.1", "re.2", "re.3"]) {
    const amount_cents = dice.any([100, 225, 300, 600]);
    const payment = part();
    const begun = second();
    const about = (later: number, status: string) =>
      story.push(tell(begun + later, { kind: "refund", refund_id: id, status, amount_cents }, payment));
    about(0, dice.any(["pending", "succeeded"]));
    if (dice.chance(0.7)) about(dice.below(4), dice.any(["succeeded", "failed", "failed", "canceled"]));
    if (dice.chance(0.3))
      story.push(
        tell(
          begun + dice.below(3),
          { kind: "refunded", refunded_cents: dice.any([amount_cents, amount_cents + 225]) },
          payment,
        ),
      );
  }
  if (dice.chance(0.1))
    story.push(
      tell(second(), {
        kind: "refund",
        refund_id: "re.4",
        status: dice.any(["pending", "failed"]),
        amount_cents: 5,
        currency: "jpy",
      }),
    );
  for (const id of [1, 2]) {
    if (dice.chance(0.3)) story.push(fact.reversal(second(), id, dice.any([100, 300, 900])));
    if (dice.chance(0.2)) story.push(fact.credit(second(), id, dice.any([50, 200]), part()));
  }
  for (const id of ["dp.1", "dp.2"].slice(0, dice.chance(0.2) ? 0 : 2)) {
    const amount = dice.any([{}, { amount_cents: 900 }, { amount_cents: 300 }]);
    const payment = isOfTwo ? part() : "a";
    let then = second();
    for (const status of dice.any([
      ["inquiry", "won"],
      ["inquiry", "open", "lost"],
      ["open", "won"],
      ["open", "lost"],
      ["open", "won", "open", "lost"],
      ["open"],
    ])) {
      story.push(tell(then, { kind: "dispute", dispute_id: id, status, ...amount }, payment));
      then += dice.below(3); // sometimes in the same second
    }
  }
  return dice.chance(0.3) ? atPaypal(story) : story;
}

/** An order of it by chance, with repetitions, with spending and grants in between. */
export function anyOrder(story: readonly Told[], dice: Dice): Step[] {
  const steps: Step[] = story.map((told) => ({ do: "tell", ...told }));
  for (let again = dice.below(5); again > 0; again--) steps.push({ do: "tell", ...dice.any(story) });
  for (let more = dice.below(6); more > 0; more--)
    steps.push(
      dice.chance(0.7)
        ? { do: "spend", tokens: 1 + dice.below(300_000) }
        : { do: "grant", tokens: 1 + dice.below(200_000) },
    );
  return shuffled(steps, dice);
}

function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const left = [...items];
  return items.map(() => left.splice(dice.below(left.length), 1)[0]!);
}

/** How a user stands. */
interface Stands {
  balance: number;
  owed: number;
  plan: string;
  /** What is known of the payment. */
  facts: Record<string, unknown>;
  /** What the payments give together. */
  tokens: number;
  /** All that decides what a further event does, without names and moments of its own. */
  books: Record<string, unknown>;
}

/** And what they did themself. */
interface Ended extends Stands {
  used: number;
  given: number;
}

/** Makes what `play` needs. */
export async function prepare(db: Database): Promise<void> {
  await db.admin.query(`
    create function public.test_tell(p_user uuid, p_told jsonb) returns void language sql as $$
      select public.record_token_payment_event(coalesce(p_told ->> 'provider', 'stripe'), p_told ->> 'event', 'x', p_user || '.' || (p_told ->> 'payment'),
        p_told -> 'facts'
        || case when p_told -> 'facts' ->> 'kind' = 'paid' then jsonb_build_object('user_id', p_user) else '{}' end
        || case when p_told -> 'facts' ? 'parts'
                then jsonb_build_object('parts', (select jsonb_agg(p_user || '.' || part) from jsonb_array_elements_text(p_told -> 'facts' -> 'parts') part))
                else '{}' end)
    $$;
    create function public.test_stands(p_user uuid) returns jsonb language sql as $$
      select jsonb_build_object('balance', a.tokens_remaining, 'owed', a.tokens_owed, 'plan', s.plan_type,
        'facts', coalesce((select jsonb_strip_nulls(to_jsonb(f) - array['provider_payment_id', 'user_id', 'created_at', 'updated_at'])
                    from tokenbook.provider_payments f where f.user_id = p_user and f.part_of is null), '{}'),
        'tokens', (select coalesce(sum(p.tokens - p.tokens_clawed_back), 0) from public.token_payments p where p.user_id = p_user),
        'books', jsonb_build_object(
          'account', jsonb_build_array(a.tokens_remaining, a.tokens_reserved, a.tokens_used, a.tokens_expired, a.tokens_owed, a.state),
          'grants', (select jsonb_agg(jsonb_build_array(g.grant_type, g.tokens_granted, g.tokens_remaining, g.is_open, g.priority, g.voided_at is null)
                                      order by g.grant_type, g.tokens_granted, g.tokens_remaining, g.is_open)
                       from public.token_balances g where g.user_id = p_user),
          'payments', (select jsonb_agg(jsonb_build_array(p.status, p.to_plan, p.from_plan, p.amount_cents, p.refunded_cents, p.disputed_cents, p.tokens, p.tokens_clawed_back))
                         from public.token_payments p where p.user_id = p_user),
          'subscription', jsonb_build_array(s.plan_type, s.tokens_limit, s.status, s.expires_at::date, s.in_force_until::date, s.next_plan_type)))
        from public.token_accounts a join public.token_subscriptions s on s.user_id = a.user_id
       where a.user_id = p_user
    $$;
    create function public.test_story(p_steps jsonb) returns jsonb language plpgsql as $$
    declare
      v_user uuid := gen_random_uuid();
      v_step jsonb;
      v_used bigint := 0;
      v_given bigint := 0;
    begin
      insert into auth.users (id, email) values (v_user, v_user || '@example.com');
      for v_step in select * from jsonb_array_elements(p_steps) loop
        case v_step ->> 'do'
          when 'tell' then
            perform public.test_tell(v_user, v_step);
          when 'spend' then
            if (public.deduct_tokens_with_fifo(v_user, (v_step ->> 'tokens')::bigint) ->> 'success')::boolean then
              v_used := v_used + (v_step ->> 'tokens')::bigint;
            end if;
          else
            perform public.grant_tokens(v_user, (v_step ->> 'tokens')::bigint, 'purchase');
            v_given := v_given + (v_step ->> 'tokens')::bigint;
        end case;
      end loop;
      return public.test_stands(v_user) || jsonb_build_object('used', v_used, 'given', v_given);
    end
    $$`);
}

/** Says in words what is not as the money asks; besides it, they were given or used so much. */
function compare(stands: Stands, otherTokens: number, money: Kept | null): string[] {
  const tokens = money === null ? 0 : STARTER.tokens - money.takenBack;
  return [
    ["what the payment gives", stands.tokens, tokens],
    ["balance less debt", stands.balance - stands.owed, FREE + otherTokens + tokens],
    ["the amount", stands.facts["amount_cents"], money?.amount],
    ["what was refunded", stands.facts["refunded_cents"], money?.refunded],
    ["what is disputed", stands.facts["disputed_cents"], money?.disputed],
    ["the plan", stands.plan, money?.plan ?? "free"],
  ].flatMap(([what, found, right]) =>
    found === right ? [] : `${String(what)} is ${String(found)}, not ${String(right)}`,
  );
}

/** Does the steps for a new user; says in words what is not as the money asks. */
async function play(
  client: pg.Pool,
  steps: Step[],
): Promise<{ wrong: string[]; state: string; money: Kept }> {
  const { rows } = await client.query("select public.test_story($1) as ended", [JSON.stringify(steps)]);
  const ended = rows[0].ended as Ended;
  const money = kept(steps.flatMap((step) => (step.do === "tell" ? [step] : [])))!;
  const wrong = compare(ended, ended.given - ended.used, money);
  return { wrong, state: JSON.stringify([ended.tokens, ended.plan, ended.facts]), money };
}

/** What came of some stories. */
export interface Played {
  orders: number;
  mix: Record<string, number>;
  wrong: string[];
}

/** Tells each story in each of its orders, each time about a user of its own. */
export async function playAll(
  db: Database,
  stories: { story: readonly Told[]; orders: Step[][] }[],
): Promise<Played> {
  const mix: Record<string, number> = { stories: stories.length };
  const count = (what: string) => (mix[what] = (mix[what] ?? 0) + 1);
  const wrong: string[] = [];
  let orders = 0;
  for (const { story, orders: some } of stories) {
    for (const { facts } of story) count([facts.kind, facts["status"] ?? []].flat().join(" "));
    const states = new Set<string>();
    const queue = [...some];
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let steps = queue.pop(); steps !== undefined; steps = queue.pop()) {
          const played = await play(db.admin, steps);
          orders++;
          states.add(played.state);
          const { takenBack } = played.money;
          count(takenBack === 0 ? "kept whole" : takenBack === STARTER.tokens ? "all lost" : "lost in part");
          for (const what of played.wrong) wrong.push(`${what} after ${JSON.stringify(steps)}`);
        }
      }),
    );
    if (states.size > 1)
      wrong.push(`${states.size} final states of ${JSON.stringify(story)}: ${[...states].join(" or ")}`);
  }
  return { orders, mix, wrong };
}

/** So many stories by chance, each in so many orders. */
export const storiesByChance = (count: number, ordersEach: number, dice: (nth: number) => Dice) =>
  Array.from({ length: count }, (_, nth) => {
    const of = dice(nth);
    const story = anyStory(of);
    return { story, orders: Array.from({ length: ordersEach }, () => anyOrder(story, of)) };
  });

/** What came of a story in all its orders. */
export interface Walked {
  /** How many orders that is. */
  orders: number;
  /** Sets of what was told, each of which must have one state. */
  sets: number;
  /** Events told: each as the last one of each set. */
  told: number;
  /** And told again. */
  repeated: number;
  wrong: string[];
}

/**
 * Every order of a story of different facts, without telling each: the facts already told, in whatever order, must
 * have one state, so each set of them needs to be told of only once, and left by each of the facts that it lacks; what
 * an order comes to is what its sets come to. In each set, too, every fact told again changes nothing, and all is as
 * the money asks. Savepoints lead back.
 */
export async function everyOrder(db: Database, story: readonly Told[]): Promise<Walked> {
  const walked: Walked = { orders: 1, sets: 1, told: 0, repeated: 0, wrong: [] };
  story.forEach((_, i) => (walked.orders *= i + 1));
  const states = new Map<number, string>();
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    const { rows: made } = await client.query<{ id: string }>(
      "insert into auth.users (id, email) select id, id || '@example.com' from gen_random_uuid() id returning id",
    );
    const user = made[0]!.id;
    const stands = async () =>
      (await client.query<{ stands: Stands }>("select public.test_stands($1) as stands", [user])).rows[0]!
        .stands;
    const tellIt = (told: Told) =>
      client.query("select public.test_tell($1, $2)", [user, JSON.stringify(told)]);
    const of = (set: number) => story.filter((_, i) => (set & (1 << i)) !== 0);
    const say = (set: number, what: string) =>
      walked.wrong.push(`${what} after ${JSON.stringify(of(set).map(({ facts }) => facts))}`);

    const leave = async (set: number): Promise<void> => {
      for (const [i, told] of story.entries()) {
        const isAgain = (set & (1 << i)) !== 0;
        const next = set | (1 << i);
        await client.query("savepoint s");
        await tellIt(told);
        const now = await stands();
        const state = JSON.stringify(now);
        walked[isAgain ? "repeated" : "told"]++;
        const known = states.get(next);
        if (known === undefined) {
          states.set(next, state);
          walked.sets++;
          const ofSet = of(next);
          // nothing is known of a payment until it is paid
          for (const what of compare(now, 0, kept(ofSet))) say(next, what);
          await leave(next);
        } else if (known !== state) {
          say(next, `${told.event} last: ${state}, not ${known},`);
        }
        await client.query("rollback to savepoint s; release savepoint s");
      }
    };
    states.set(0, JSON.stringify(await stands()));
    await leave(0);
  } finally {
    await client.query("rollback");
    client.release();
  }
  return walked;
}
