/** What the books must answer to each command, according to the reference model. */
import type pg from "pg";
import { type Command, type Key, statuses } from "./any-command.ts";
import { type Facts, type Payment, Plans, type Started } from "./plans.ts";
import type { BurnOrder } from "../support/burn-order.ts";
import { Books, Refused, type Charge, type Parts, type Promised, sum, type Use } from "./reference.ts";

export { anyCommand, type Command } from "./any-command.ts";

type Receipt = Record<string, unknown>;

/** Counts of commands and of what came of them. */
export type Mix = Record<string, number>;

/** One user's run: the same commands to the model and to the database, and a word for every difference. */
export class Run {
  private readonly books: Books;
  private readonly plans: Plans;
  private readonly grantIds: string[] = [];
  private readonly promises: Promised[] = [];
  private readonly payments: { id: string; payment: Payment; approved?: Receipt }[] = [];
  private readonly facts = [0, 1, 2].map((): Facts => ({
    told: [],
    plan: null,
    payment: null,
  }));
  private readonly events: Extract<Command, { do: "event" }>[] = [];
  private readonly holdIds: string[] = [];
  private hasEntries = false;
  /** Commands with a key that had an effect: a retry of one is a replay. */
  private readonly keyed: Command[] = [];
  private readonly keys = new Map<string, { request: string; receipt: Receipt }>();
  /** The keys of payments that were asked for: they are not the ledger's. */
  private readonly asked = new Map<string, { id: string; payment: Payment }>();

  private readonly client: pg.ClientBase;
  private readonly user: string;
  private readonly mix: Mix;

  constructor(client: pg.ClientBase, user: string, mix: Mix, order: BurnOrder = "fifo") {
    this.books = new Books(order);
    this.plans = new Plans(this.books);
    this.client = client;
    this.user = user;
    this.mix = mix;
  }

  /** @throws when the database answers anything but what the model says. */
  async execute(command: Command): Promise<void> {
    this.books.now += 0.001;
    if (command.do === "step") return this.step(command.seconds);
    if (command.do === "sweep") {
      await this.client.query("select public.expire_old_token_grants(10000)");
      return this.count("sweep", "done");
    }
    if (command.do === "look") return this.look();
    if (command.do === "again") {
      const before = pick(this.keyed, command.nth);
      return before === undefined ? this.count("again", "nothing to do again") : this.execute(before);
    }
    if (command.do === "event again") {
      const before = pick(this.events, command.nth);
      return before === undefined ? this.count("again", "nothing to do again") : this.execute(before);
    }
    if (command.do === "batch") return this.batch(command);

    const call = this.callOf(command);
    if (call === null) return this.count(command.do, "nothing to do it to");
    const expected = this.expect(command, call);
    const answer = await this.call(call.sql, [this.user, ...call.args]);
    if ("refused" in expected) {
      same(command, answer, { refused: expected.refused });
      return this.count(command.do, expected.refused);
    }
    if ("refused" in answer) throw new Error(`${JSON.stringify(command)} was refused: ${answer.refused}`);
    const outcome = expected.learn(answer.receipt);
    this.hasEntries ||= this.books.grants.length > 0 || (command.do === "track" && outcome !== "short");
    await this.learnGrants();
    this.count(command.do, outcome);
  }

  private async step(seconds: number): Promise<void> {
    const hasConsequences = this.books.step(seconds);
    this.plans.timePassed();
    await this.client.query("select test_step($1, $2)", [this.user, seconds]);
    this.count("step", "done");
    if (hasConsequences) {
      await this.client.query("select public.get_user_token_balance($1)", [this.user]);
      await this.learnGrants();
    }
  }

  /** Grants that no receipt names: what no longer fitted where it came from, what was carried over. */
  private async learnGrants(): Promise<void> {
    const { grants } = this.books;
    if (this.grantIds.length < grants.length) {
      const { rows } = await this.client.query<{ id: string }>(
        `select id from public.token_balances where user_id = $1 and id <> all ($2) order by created_at, ctid`,
        [this.user, this.grantIds],
      );
      if (this.grantIds.length + rows.length !== grants.length)
        throw new Error(
          `the database has ${rows.length} grants more than ${this.grantIds.length}, the model ${grants.length} in all`,
        );
      // what was promised is known by its id
      const promised = new Set(this.promises.map(({ id }) => id));
      const others = rows.filter(({ id }) => !promised.has(id));
      for (const grant of grants.slice(this.grantIds.length)) {
        const id = grant.id ?? others.shift()?.id;
        if (id === undefined || !rows.some((row) => row.id === id))
          throw new Error(`the model has a grant that the database has not: ${JSON.stringify(grant)}`);
        this.grantIds.push(id);
      }
    }
    for (const grant of grants) grant.id ??= this.grantIds[grant.n]!;
  }

  /** Many deductions in one call: each as if it came by itself, or none. */
  private async batch({ items, allOrNothing }: Extract<Command, { do: "batch" }>): Promise<void> {
    const answer = await this.call("public.deduct_tokens_batch($1, $2)", [
      JSON.stringify(
        items.map(({ tokens, key }) => ({
          user_id: this.user,
          tokens,
          action_type: "chat_conversation",
          ...(key !== null && { idempotency_key: key }),
        })),
      ),
      allOrNothing,
    ]);
    if ("refused" in answer) throw new Error(`a batch was refused: ${answer.refused}`);
    const { results } = answer.receipt as { results: (Receipt & { error?: { code: string } })[] };
    const tried = this.tryBatch(items);
    const isUndone = allOrNothing && tried.some((one) => one !== null);
    const outcomes = new Set<string>();
    for (const [nth, { index, ...receipt }] of results.entries()) {
      const command: Command = { do: "deduct", action: "chat_conversation", ...items[nth]! };
      same(command, index, nth);
      const error = receipt.error?.code;
      if (isUndone) {
        const { slug, short } = tried[nth] ?? { slug: "not_applied" };
        same(command, [error, receipt["tokens_remaining_to_deduct"]], [slug, short]);
        continue;
      }
      const expected = this.expect(command, this.callOf(command)!);
      if ("refused" in expected) {
        same(command, error, expected.refused);
        outcomes.add(expected.refused);
      } else {
        if (error !== undefined) throw new Error(`${JSON.stringify(command)} was refused: ${error}`);
        outcomes.add(expected.learn(receipt));
      }
    }
    const first = tried.find((one) => one !== null);
    this.count(
      "batch",
      isUndone
        ? `undone: ${first!.slug ?? "short"}`
        : outcomes.size > 1
          ? "item by item"
          : `all ${[...outcomes][0]}`,
    );
  }

  /** What would keep each item from being booked, when those before it are. */
  private tryBatch(items: { tokens: number; key: Key }[]): ({ slug?: string; short?: number } | null)[] {
    let active = this.books.payable({ action: "chat_conversation" });
    const keys = new Map([...this.keys].map(([key, { request }]) => [key, request]));
    return items.map(({ tokens, key }) => {
      const call = this.callOf({ do: "deduct", action: "chat_conversation", tokens, key })!;
      const request = JSON.stringify([call.sql, ...call.args]);
      const first = key === null ? undefined : keys.get(key);
      if (first !== undefined) return first === request ? null : { slug: "idempotency_key_reused" };
      if (tokens > active) return { short: tokens - active };
      active -= tokens;
      if (key !== null) keys.set(key, request);
      return null;
    });
  }

  /** Everything there is to see, at the end of a run too. */
  async look(): Promise<void> {
    const { books } = this;
    const { rows } = await this.client.query(
      `select public.get_user_token_balance($1) as balance,
              (select a.tokens_used from public.token_accounts a where a.user_id = $1) as used`,
      [this.user],
    );
    const { balance, used } = rows[0];
    same(
      "look",
      {
        active: balance.total_active,
        reserved: balance.total_reserved,
        expired: balance.total_expired,
        owed: balance.total_owed,
        plan: balance.plan_type,
        planLimit: balance.tokens_limit,
        used: Number(used ?? 0),
        grants: balance.grants.map((grant: { id: string; tokens_remaining: number }) => [
          this.grantIds.indexOf(grant.id),
          grant.tokens_remaining,
        ]),
      },
      {
        active: books.active,
        reserved: books.reserved,
        expired: books.expired,
        owed: books.owed,
        plan: this.plans.plan,
        planLimit: books.planLimit,
        used: books.used,
        grants: books.queue().map((grant) => [grant.n, grant.left]),
      },
    );
    this.count(
      "look",
      this.plans.plan === null && this.plans.latest !== null ? "same, the plan is over" : "same",
    );
  }

  private count(what: string, outcome: string): void {
    this.mix[`${what}: ${outcome}`] = (this.mix[`${what}: ${outcome}`] ?? 0) + 1;
  }

  private async call(
    sql: string,
    args: unknown[],
  ): Promise<{ receipt: Record<string, unknown> } | { refused: string }> {
    try {
      const { rows } = await this.client.query(`select ${sql} as receipt`, args);
      return { receipt: rows[0].receipt };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined || !/^(PT\d{3}|42501)$/.test(code)) throw error;
      return { refused: message };
    }
  }

  private callOf(command: Command): { sql: string; args: unknown[]; key: Key } | null {
    switch (command.do) {
      case "grant":
        return {
          sql: `public.grant_tokens($1, $2, 'purchase', p_priority => $3,
                  p_expires_at => coalesce(clock_timestamp() + $4 * interval '1 second', 'infinity'),
                  p_granted_at => clock_timestamp() - $5 * interval '1 second', p_idempotency_key => $6,
                  p_pays_for => $7)`,
          args: [
            command.tokens,
            command.priority,
            command.lifetime,
            command.backdated,
            command.key,
            command.paysFor,
          ],
          // the moment is part of the request: a grant by the clock is never the same twice
          key: command.key,
        };
      case "promise":
        return {
          sql: `public.grant_tokens($1, $2, 'purchase', p_priority => $3, p_idempotency_key => $6, p_pays_for => $7,
                  p_expires_at => coalesce(clock_timestamp() + ($4::int + $5::int) * interval '1 second', 'infinity'),
                  p_starts_at => clock_timestamp() + $4::int * interval '1 second')`,
          args: [
            command.tokens,
            command.priority,
            command.begins,
            command.lifetime,
            command.key,
            command.paysFor,
          ],
          key: command.key,
        };
      case "call off": {
        const promised = pick(this.promises, command.promise);
        // one that has begun is a grant: that is "void"
        return promised === undefined || this.grantIds.includes(promised.id!)
          ? null
          : {
              sql: "public.void_token_grant($1, $2, null, false, $3)",
              args: [promised.id, command.key],
              key: command.key,
            };
      }
      case "deduct":
        return {
          sql: "public.deduct_tokens_with_fifo($1, $2, $3, $4)",
          args: [command.tokens, command.action, command.key],
          key: command.key,
        };
      case "track":
        return {
          sql: `public.track_token_usage($1, $6, $7, p_tokens_used => $2, p_success => $3,
                  p_on_shortage => $4, p_idempotency_key => $5)`,
          args: [
            command.tokens,
            command.success,
            command.shortage,
            command.key,
            command.use.action,
            command.use.model ?? null,
          ],
          key: command.key,
        };
      case "reserve":
        return {
          sql: "public.reserve_tokens($1, $2, $3, $5, $4, p_model_used => $6)",
          args: [command.tokens, command.ttl, command.key, command.use.action, command.use.model ?? null],
          key: command.key,
        };
      case "split": {
        const hold = pick(this.holdIds, command.hold);
        const { tokens, ttl, key, use } = command;
        return hold === undefined
          ? null
          : {
              sql: "public.reserve_tokens($1, $2, $3, $5, $4, p_model_used => $6, p_parent_hold => $7)",
              args: [tokens, ttl, key, use.action, use.model ?? null, hold],
              key,
            };
      }
      case "capture": {
        const hold = pick(this.holdIds, command.hold);
        return hold === undefined
          ? null
          : {
              sql: "public.capture_tokens($1, $2, $3, $4, p_success => $5)",
              args: [hold, command.tokens, command.over, command.success],
              key: null,
            };
      }
      case "allow":
        return {
          sql: "public.set_token_overdraft($1, $2, 'trusted')",
          args: [command.tokens],
          key: null,
        };
      case "release": {
        const hold = pick(this.holdIds, command.hold);
        return hold === undefined ? null : { sql: "public.release_tokens($1, $2)", args: [hold], key: null };
      }
      case "refund": {
        const charges = [...this.books.charges.keys()];
        return {
          sql: `public.refund_tokens($1, $2, $3, null, case when $4::int is null then 'forfeit' else 'reissue' end, $5, $4)`,
          args: [pick(charges, command.transaction) ?? 1, command.tokens, command.days, command.key],
          key: command.key,
        };
      }
      case "expiry": {
        const grant = pick(this.grantIds, command.grant);
        return grant === undefined
          ? null
          : {
              sql: `public.set_token_grant_expiry($1, $2, coalesce(clock_timestamp() + $3::int * interval '1 second', 'infinity'), 'a promise')`,
              args: [grant, command.seconds],
              key: null,
            };
      }
      case "void": {
        const grant = pick(this.grantIds, command.grant);
        return grant === undefined
          ? null
          : {
              sql: "public.void_token_grant($1, $2, null, $3, $4)",
              args: [grant, command.takeBack, command.key],
              key: command.key,
            };
      }
      case "adjust":
        return {
          sql: "public.adjust_tokens($1, $2, null, $3)",
          args: [command.delta, command.key],
          key: command.key,
        };
      case "ask":
        return {
          sql: "public.create_token_payment($1, $2, $3)",
          args: [command.plan, command.key],
          // a key of its own kind: see `ask`
          key: null,
        };
      case "approve":
      case "reject": {
        const id = pick(this.payments, command.payment)?.id;
        return id === undefined
          ? null
          : { sql: `public.${command.do}_token_payment($1, $2, 'seen')`, args: [id], key: null };
      }
      case "pay back": {
        const of = pick(this.payments, command.payment);
        return of === undefined
          ? null
          : {
              sql: "public.refund_token_payment($1, $2, 'went back', $3)",
              args: [of.id, this.paidBack(command)],
              key: null,
            };
      }
      case "change":
        return {
          sql: "public.change_token_plan($1, $2, p_idempotency_key => $3)",
          args: [command.plan, command.key],
          key: command.key,
        };
      case "renew":
        return {
          sql: "public.renew_token_subscription($1, public.test_period($1, $2))",
          args: [command.period],
          key: null,
        };
      case "event": {
        const isKnown = this.events.includes(command);
        const nth = isKnown ? this.events.indexOf(command) : this.events.length;
        return {
          sql: "public.test_event($1, $2, $3, $4, $5)",
          args: [nth, command.payment, said(command), command.period],
          key: null,
        };
      }
      default:
        throw new Error(`no call for ${command.do}`);
    }
  }

  /** Does the command to the model; says what the database must refuse with, or what to check of its receipt. */
  private expect(
    command: Command,
    call: { sql: string; args: unknown[]; key: Key },
  ): { refused: string } | { learn: (receipt: Record<string, unknown>) => string } {
    const first = call.key === null ? undefined : this.keys.get(call.key);
    const request = JSON.stringify([call.sql, ...call.args]);
    if (first !== undefined) {
      // a grant's moments come from the clock: the same key is another request each time
      if (first.request !== request || command.do === "grant" || command.do === "promise")
        return { refused: "idempotency_key_reused" };
      return {
        learn: (receipt) => {
          same(command, lasting(receipt), lasting({ ...first.receipt, replayed: true }));
          return "replayed";
        },
      };
    }
    let learn: (receipt: Record<string, unknown>) => string;
    try {
      learn = this.act(command);
    } catch (error) {
      if (error instanceof Refused) return { refused: error.message };
      throw error;
    }
    return {
      learn: (receipt) => {
        const outcome = learn(receipt);
        // what makes no entry in the ledger uses no key up
        const isBooked = !["short", "full already"].includes(outcome);
        if (call.key !== null && isBooked) {
          this.keys.set(call.key, { request, receipt });
          this.keyed.push(command);
        }
        return outcome;
      },
    };
  }

  private act(command: Command): (receipt: Record<string, unknown>) => string {
    const { books } = this;
    switch (command.do) {
      case "grant": {
        books.grant(command.tokens, command.priority, command.lifetime, command.backdated, command.paysFor);
        const left = books.active;
        return (receipt) => {
          same(command, receipt["tokens_remaining"], left);
          this.grantIds.push(receipt["grant_id"] as string);
          return "granted";
        };
      }
      case "promise": {
        const promised = books.promise(
          command.tokens,
          command.priority,
          command.begins,
          command.lifetime,
          command.paysFor,
        );
        return (receipt) => {
          same(command, receipt["tokens_remaining"], books.active);
          promised.id = receipt["grant_id"] as string;
          this.promises.push(promised);
          this.hasEntries = true;
          return "promised";
        };
      }
      case "call off": {
        books.callOff(pick(this.promises, command.promise)!);
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            tokens_voided: 0,
            tokens_owed: 0,
            tokens_remaining: books.active,
            replayed: false,
          });
          return "called off";
        };
      }
      case "deduct":
        return this.spend(command, command.tokens, { action: command.action });
      case "adjust": {
        if (command.delta < 0) return this.spend(command, -command.delta);
        books.grant(command.delta, 50, 365 * 86_400);
        const left = books.active;
        return (receipt) => {
          same(command, receipt["tokens_remaining"], left);
          this.grantIds.push(receipt["grant_id"] as string);
          same(command, receipt["success"], true);
          return "granted";
        };
      }
      case "track": {
        const wanted = command.success ? command.tokens : 0;
        const payable = books.payable(command.use);
        const taken = Math.min(wanted, payable);
        const owed = command.shortage === "overdraft" ? books.mayOwe(wanted - taken, payable) : 0;
        if (command.shortage !== "partial" && wanted > taken + owed)
          return this.short(command, wanted, payable, owed);
        const parts = books.take(taken, command.use);
        books.owed += owed;
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            tokens_deducted: taken,
            tokens_overdrawn: owed > 0 ? owed : undefined,
            tokens_remaining_to_deduct: wanted - taken - owed,
            deducted_from: parts,
            tokens_remaining: books.active,
            replayed: false,
          });
          if (taken + owed > 0)
            books.charge(receipt["transaction_id"] as number, taken + owed, parts, true, owed);
          if (owed > 0) return taken > 0 ? "overdrawn" : "all of it owed";
          return taken < wanted ? "partly" : command.success ? "tracked" : "failed";
        };
      }
      case "allow": {
        const isSame = books.overdraftLimit === command.tokens;
        books.overdraftLimit = command.tokens;
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            limit_in_force: command.tokens,
            tokens_owed: books.owed,
          });
          return isSame && receipt["replayed"] ? "as it was" : "allowed";
        };
      }
      case "reserve": {
        const payable = books.payable(command.use);
        if (command.tokens > payable) return this.short(command, command.tokens, payable);
        const hold = books.reserve(command.tokens, command.ttl, command.use);
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            status: "open",
            tokens_reserved: command.tokens,
            reserved_from: hold.parts,
            tokens_remaining: books.active,
            replayed: false,
          });
          this.holdIds.push(receipt["hold_id"] as string);
          return "reserved";
        };
      }
      case "split": {
        const parent = pick(books.holds, command.hold)!;
        const hold = books.split(parent, command.tokens, command.ttl, command.use);
        const left = parent.tokens;
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            status: "open",
            tokens_reserved: command.tokens,
            reserved_from: hold.parts,
            tokens_remaining: books.active,
            replayed: false,
          });
          same(command, (receipt["budget"] as { tokens_left: number }).tokens_left, left);
          this.holdIds.push(receipt["hold_id"] as string);
          return "split";
        };
      }
      case "capture":
        return this.capture(command);
      case "release": {
        const hold = pick(books.holds, command.hold)!;
        const wasOpen = hold.status === "open";
        if (wasOpen) books.settle(hold, 0, "released");
        return (receipt) => {
          this.compare(command, receipt, {
            success: hold.status !== "captured",
            status: hold.status,
            tokens_captured: hold.captured,
            replayed: !wasOpen,
            tokens_remaining: books.active,
          });
          return wasOpen ? "released" : `was ${hold.status}`;
        };
      }
      case "refund": {
        const charge: Charge | undefined = pick([...books.charges.values()], command.transaction);
        // without a charge it is tried on the first entry of the ledger, if there is one
        if (charge === undefined) throw new Refused(this.hasEntries ? "not_refundable" : "charge_not_found");
        const before = charge.tokens - charge.refunded;
        const { restored, forfeited, letOff } = books.refund(
          charge,
          command.tokens ?? before,
          command.days === null ? null : command.days * 86_400,
        );
        const reissued = restored.filter(([n]) => n >= this.grantIds.length).length;
        return (receipt) => {
          const lists = receipt as { restored: { grant_id: string }[] };
          if (reissued > 0)
            this.grantIds.push(...lists.restored.slice(-reissued).map(({ grant_id }) => grant_id));
          this.compare(command, receipt, {
            success: true,
            tokens_refunded: command.tokens ?? before,
            debt_cancelled: letOff > 0 ? letOff : undefined,
            restored,
            forfeited,
            tokens_refundable: charge.tokens - charge.refunded,
            tokens_remaining: books.active,
            replayed: false,
          });
          if (letOff > 0) return "let off";
          return reissued > 0 ? "reissued" : forfeited.length > 0 ? "forfeited" : "restored";
        };
      }
      case "expiry": {
        books.setExpiry(pick(books.grants, command.grant)!, command.seconds);
        return (receipt) => {
          this.compare(command, receipt, { success: true, tokens_remaining: books.active, replayed: false });
          return command.seconds === null ? "never" : "changed";
        };
      }
      case "void": {
        const { taken, owed } = books.void(pick(books.grants, command.grant)!, command.takeBack);
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            tokens_voided: taken,
            tokens_owed: owed,
            tokens_remaining: books.active,
            replayed: false,
          });
          return owed > 0 ? "owing" : "voided";
        };
      }
      case "ask":
        return this.ask(command);
      case "approve": {
        const of = pick(this.payments, command.payment)!;
        const { grant, replayed, balance } = this.plans.approve(of.payment);
        const { plan } = this.plans;
        return (receipt) => {
          if (replayed) {
            same(command, lasting(receipt), lasting({ ...of.approved, plan_in_force: plan, replayed: true }));
            return "had been";
          }
          this.compare(command, receipt, {
            success: true,
            status: "approved",
            plan_type: of.payment.to,
            plan_in_force: plan,
            replayed: false,
            tokens_granted: grant!.granted,
            tokens_limit: books.planLimit,
            tokens_remaining: balance,
          });
          of.approved = receipt;
          return "approved";
        };
      }
      case "reject": {
        const wasKnown = this.plans.reject(pick(this.payments, command.payment)!.payment);
        return (receipt) => {
          this.compare(command, receipt, { success: true, status: "rejected", replayed: wasKnown });
          return wasKnown ? "had been" : "rejected";
        };
      }
      case "pay back": {
        const { payment } = pick(this.payments, command.payment)!;
        const wasKnown = this.plans.refund(payment, this.paidBack(command));
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            status: payment.status,
            replayed: wasKnown,
            tokens_clawed_back: payment.clawed,
            tokens_owed: books.owed,
            tokens_limit: books.planLimit,
            tokens_remaining: books.active,
          });
          return wasKnown ? "had been" : payment.status === "refunded" ? "in full" : "in part";
        };
      }
      case "change": {
        const started = this.plans.change(command.plan);
        if (started !== null) return this.started(command, command.plan, started);
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            plan_type: command.plan,
            effective: "period_end",
            replayed: false,
            tokens_granted: 0,
            tokens_limit: books.planLimit,
            tokens_remaining: books.active,
          });
          return "noted down";
        };
      }
      case "renew": {
        const to = command.period === "this" ? this.plans.latest : this.plans.toRenew;
        return this.started(command, to, this.plans.renew(command.period));
      }
      case "event":
        return this.event(command);
      default:
        throw new Error(`no model for ${command.do}`);
    }
  }

  private ask(command: Extract<Command, { do: "ask" }>) {
    const first = command.key === null ? undefined : this.asked.get(command.key);
    if (first !== undefined && first.payment.to !== command.plan) throw new Refused("idempotency_key_reused");
    const payment = first?.payment ?? this.plans.ask(command.plan);
    return (receipt: Receipt) => {
      this.compare(command, receipt, {
        success: true,
        status: payment.status,
        from_plan: payment.from,
        to_plan: payment.to,
        amount_cents: payment.amount,
        replayed: first !== undefined,
      });
      if (first !== undefined) return "replayed";
      const one = { id: receipt["payment_id"] as string, payment };
      this.payments.push(one);
      if (command.key !== null) {
        this.asked.set(command.key, one);
        this.keyed.push(command);
      }
      return "asked";
    };
  }

  /** What went back in all, in cents; null: everything. */
  private paidBack({ payment, share }: Extract<Command, { do: "pay back" }>): number | null {
    return share === null ? null : Math.floor(pick(this.payments, payment)!.payment.amount * share);
  }

  /** The receipt of a plan that has begun. */
  private started(command: Command, plan: string | null, { grant, replayed, balance }: Started) {
    const planLimit = this.books.planLimit;
    return (receipt: Receipt) => {
      this.compare(command, receipt, {
        success: true,
        plan_type: plan,
        replayed,
        ...(command.do === "change" && { effective: "now" }),
        ...(grant !== null && { tokens_granted: grant.granted }),
        ...(!replayed && {
          tokens_limit: planLimit,
          tokens_remaining: balance,
        }),
      });
      if (replayed) return "had begun";
      return grant === null ? "full already" : "begun";
    };
  }

  private event(command: Extract<Command, { do: "event" }>) {
    const { books, plans } = this;
    const facts = this.facts[command.payment]!;
    const wasKnown = this.events.includes(command);
    const before = { clawed: facts.payment?.clawed ?? 0, payment: facts.payment };
    if (command.kind === "paid") facts.plan ??= command.plan;
    if (!wasKnown) facts.told.push(command);
    const period = command.period === "this" ? plans.start : command.period === "next" ? plans.end : null;
    const payment = plans.settleFacts(facts, period);
    if (!wasKnown) this.events.push(command);
    return (receipt: Receipt) => {
      this.compare(command, receipt, {
        success: true,
        status: payment?.status ?? "waiting",
        plan_type: facts.plan,
        replayed: wasKnown,
        tokens_granted: payment?.tokens ?? 0,
        tokens_clawed_back: payment?.clawed ?? 0,
        ...(payment !== null && {
          amount_cents: payment.amount,
          refunded_cents: payment.refunded,
          tokens_owed: books.owed,
          tokens_limit: books.planLimit,
          tokens_remaining: books.active,
        }),
      });
      if (payment === null) return "waiting";
      if (wasKnown) return "again";
      if (before.payment === null) return payment.clawed > 0 ? "paid, and taken back" : "paid";
      if (payment.clawed > before.clawed) return "taken back";
      return payment.clawed < before.clawed ? "given back" : "nothing new";
    };
  }

  private spend(command: Command, tokens: number, use?: Use) {
    const { books } = this;
    const payable = use === undefined ? books.active : books.payable(use);
    if (tokens > payable) return this.short(command, tokens, payable);
    const parts = books.take(tokens, use);
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: true,
        tokens_remaining_to_deduct: 0,
        deducted_from: parts,
        tokens_remaining: books.active,
        replayed: false,
      });
      books.charge(receipt["transaction_id"] as number, tokens, parts, use !== undefined);
      return "deducted";
    };
  }

  private short(command: Command, wanted: number, payable: number, owed = 0) {
    const available = this.books.active;
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: false,
        tokens_remaining_to_deduct: wanted - payable - owed,
        transaction_id: null,
        tokens_restricted: payable < Math.min(wanted, available) ? available - payable : undefined,
        tokens_remaining: available,
        replayed: false,
      });
      return "short";
    };
  }

  private capture(command: Extract<Command, { do: "capture" }>) {
    const { books } = this;
    const hold = pick(books.holds, command.hold)!;
    if (hold.status !== "open") {
      return (receipt: Record<string, unknown>) => {
        this.compare(command, receipt, {
          success: hold.status === "captured",
          status: hold.status,
          tokens_captured: hold.captured,
          replayed: true,
        });
        return `was ${hold.status}`;
      };
    }
    const tokens = command.success ? (command.tokens ?? hold.tokens) : 0;
    let over = Math.max(tokens - hold.tokens, 0);
    if (over > 0 && command.over === "reject") throw new Refused("capture_exceeds_hold");
    const available =
      hold.parent === undefined ? books.payable(hold.use) : books.payableOf(hold.parent, hold.use);
    // what goes beyond a part of a budget is the budget's, and nothing is owed for it
    const owed =
      command.over === "overdraft" && over > available && hold.parent === undefined
        ? books.mayOwe(over - available, available)
        : 0;
    if (over > available + owed && (command.over === "deduct" || command.over === "overdraft")) {
      return (receipt: Record<string, unknown>) => {
        this.compare(command, receipt, {
          success: false,
          status: "open",
          tokens_remaining_to_deduct: over - available - owed,
          replayed: false,
        });
        return "short";
      };
    }
    if (hold.parent !== undefined) {
      const grown = { deduct: over, overdraft: over, partial: Math.min(over, available), cap: 0, reject: 0 }[
        command.over
      ];
      if (grown > 0) books.grow(hold, grown);
      over -= grown;
    }
    const captured = Math.min(tokens, hold.tokens);
    const parts = takeFront(hold.parts, captured);
    const there = Math.min(over, available);
    const beyond =
      hold.parent === undefined
        ? { deduct: over, partial: there, overdraft: there, cap: 0, reject: 0 }[command.over]
        : 0;
    const more = books.take(beyond, hold.use);
    books.owed += owed;
    books.settle(hold, captured, "captured");
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: true,
        status: "captured",
        tokens_captured: captured,
        tokens_released: hold.tokens - captured,
        tokens_deducted: captured + sum(more.map(([, part]) => part)),
        tokens_overdrawn: owed > 0 ? owed : undefined,
        tokens_remaining_to_deduct: over - beyond - owed,
        deducted_from: [...parts, ...more],
        tokens_remaining: books.active,
        replayed: false,
      });
      if (captured > 0) books.charge(receipt["transaction_id"] as number, captured, parts, true);
      if (beyond + owed > 0)
        books.charge(receipt["overage_transaction_id"] as number, beyond + owed, more, true, owed);
      return over > 0 ? `more: ${command.over}` : captured < hold.tokens ? "less" : "all";
    };
  }

  /** Compares the fields that are expected; lists of grants by their numbers. */
  private compare(
    command: Command,
    receipt: Record<string, unknown>,
    expected: Record<string, unknown>,
  ): void {
    const found = Object.fromEntries(
      Object.keys(expected).map((field) => {
        const value = receipt[field];
        if (!Array.isArray(value)) return [field, value];
        return [
          field,
          value.map((part: { grant_id: string; deducted?: number; tokens?: number }) => [
            this.grantIds.indexOf(part.grant_id),
            part.deducted ?? part.tokens,
          ]),
        ];
      }),
    );
    same(command, found, expected);
  }
}

/**
 * A receipt without what a hold's is now, without the moments, which the clock of the test moves, and without why there
 * was no more to take, which is said the first time.
 */
function lasting(receipt: Receipt): Receipt {
  return JSON.parse(
    JSON.stringify(receipt, (name, value: unknown) =>
      ["status", "granted_at", "expires_at", "effective_at", "budget", "tokens_restricted"].includes(name)
        ? undefined
        : value,
    ),
  );
}

function takeFront(parts: Parts, tokens: number): Parts {
  const front: Parts = [];
  let needed = tokens;
  for (const [n, part] of parts) {
    if (needed === 0) break;
    front.push([n, Math.min(part, needed)]);
    needed -= Math.min(part, needed);
  }
  return front;
}

/** What an event says, but whom and when it is of. */
function said({ kind, id, status, at, plan, cents }: Extract<Command, { do: "event" }>): string {
  return JSON.stringify({
    kind,
    occurred_at: new Date(Date.UTC(2026, 0, 1, 0, 0, at)).toISOString(),
    ...(kind === "paid" && { plan_type: plan, currency: "usd" }),
    ...(kind === "refunded" ? { refunded_cents: cents ?? 0 } : { amount_cents: cents ?? undefined }),
    ...(kind === "refund" && {
      refund_id: `re_${id}`,
      status: statuses.refund[status],
      amount_cents: cents ?? 0,
    }),
    ...(kind === "dispute" && { dispute_id: `dp_${id}`, status: statuses.dispute[status] }),
  });
}

function pick<T>(list: readonly T[], index: number): T | undefined {
  return list[index % list.length];
}

function same(command: Command | string, found: unknown, expected: unknown): void {
  const [a, b] = [sorted(found), sorted(expected)];
  if (a !== b) throw new Error(`${JSON.stringify(command)}\n  the database: ${a}\n  the model:    ${b}`);
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}
