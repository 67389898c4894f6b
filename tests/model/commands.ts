/** Random commands for the books, and what each must answer according to the reference model. */
import fc from "fast-check";
import type pg from "pg";
import { Books, Refused, type Charge, type Parts, sum } from "./reference.ts";

export type Command =
  | { do: "grant"; tokens: number; priority: number; lifetime: number | null; backdated: number; key: Key }
  | { do: "deduct"; tokens: number; key: Key }
  | { do: "track"; tokens: number; success: boolean; partial: boolean; key: Key }
  | { do: "reserve"; tokens: number; ttl: number; key: Key }
  | {
      do: "capture";
      hold: number;
      tokens: number | null;
      over: "deduct" | "cap" | "reject";
      success: boolean;
    }
  | { do: "release"; hold: number }
  | { do: "refund"; transaction: number; tokens: number | null; days: number | null; key: Key }
  | { do: "void"; grant: number; takeBack: boolean; key: Key }
  | { do: "adjust"; delta: number; key: Key }
  | { do: "step"; seconds: number }
  | { do: "again"; nth: number }
  | { do: "sweep" }
  | { do: "look" };
type Key = string | null;

const key = fc.oneof(
  { weight: 4, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom("k1", "k2", "k3", "k4", "k5", "k6") },
);
const few = fc.integer({ min: 1, max: 150 });

export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("grant" as const),
      tokens: fc.integer({ min: 1, max: 400 }),
      priority: fc.constantFrom(50, 50, 10, 90),
      lifetime: fc.constantFrom(null, null, 1_000, 2_000, 4_000),
      backdated: fc.constantFrom(0, 0, 0, 300),
      key,
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("deduct" as const), tokens: few, key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("track" as const),
      tokens: few,
      success: fc.constantFrom(true, true, false),
      partial: fc.boolean(),
      key,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("reserve" as const),
      tokens: few,
      ttl: fc.constantFrom(600, 1_500),
      key,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("capture" as const),
      hold: fc.nat(20),
      tokens: fc.option(fc.integer({ min: 0, max: 180 })),
      over: fc.constantFrom("deduct" as const, "deduct" as const, "cap" as const, "reject" as const),
      success: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), hold: fc.nat(20) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("refund" as const),
      transaction: fc.nat(60),
      tokens: fc.option(fc.integer({ min: 1, max: 60 })),
      days: fc.option(fc.constantFrom(1, 30)),
      key,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("void" as const),
      grant: fc.nat(20),
      takeBack: fc.boolean(),
      key,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("adjust" as const),
      delta: fc.oneof(fc.integer({ min: 1, max: 80 }), fc.integer({ min: -80, max: -1 })),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("step" as const),
      seconds: fc.constantFrom(500, 500, 500, 1_000, 1_000, 1_500, 86_400),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("again" as const), nth: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const) }) },
);

/** Counts of commands and of what came of them. */
export type Mix = Record<string, number>;

/** One user's run: the same commands to the model and to the database, and a word for every difference. */
export class Run {
  private readonly books = new Books();
  private readonly grantIds: string[] = [];
  private readonly holdIds: string[] = [];
  private hasEntries = false;
  /** Commands with a key that had an effect: a retry of one is a replay. */
  private readonly keyed: Command[] = [];
  private readonly keys = new Map<string, { request: string; receipt: Record<string, unknown> }>();

  private readonly client: pg.ClientBase;
  private readonly user: string;
  private readonly mix: Mix;

  constructor(client: pg.ClientBase, user: string, mix: Mix) {
    this.client = client;
    this.user = user;
    this.mix = mix;
  }

  /** @throws when the database answers anything but what the model says. */
  async execute(command: Command): Promise<void> {
    if (command.do === "step") {
      this.books.step(command.seconds);
      await this.client.query("select test_step($1, $2)", [this.user, command.seconds]);
      return this.count("step", "done");
    }
    if (command.do === "sweep") {
      await this.client.query("select public.expire_old_token_grants(10000)");
      return this.count("sweep", "done");
    }
    if (command.do === "look") return this.look();
    if (command.do === "again") {
      const before = pick(this.keyed, command.nth);
      return before === undefined ? this.count("again", "nothing to do again") : this.execute(before);
    }

    const call = this.callOf(command);
    if (call === null) return this.count(command.do, "nothing to do it to");
    const expected = this.expect(command, call);
    const answer = await this.call(call.sql, call.args);
    if ("refused" in expected) {
      same(command, answer, { refused: expected.refused });
      return this.count(command.do, expected.refused);
    }
    if ("refused" in answer) throw new Error(`${JSON.stringify(command)} was refused: ${answer.refused}`);
    const outcome = expected.learn(answer.receipt);
    this.hasEntries ||= outcome !== "short";
    this.count(command.do, outcome);
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
        used: books.used,
        grants: books.queue().map((grant) => [grant.n, grant.left]),
      },
    );
    this.count("look", "same");
  }

  private count(what: string, outcome: string): void {
    this.mix[`${what}: ${outcome}`] = (this.mix[`${what}: ${outcome}`] ?? 0) + 1;
  }

  private async call(
    sql: string,
    args: unknown[],
  ): Promise<{ receipt: Record<string, unknown> } | { refused: string }> {
    try {
      const { rows } = await this.client.query(`select ${sql} as receipt`, [this.user, ...args]);
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
                  p_granted_at => clock_timestamp() - $5 * interval '1 second', p_idempotency_key => $6)`,
          args: [command.tokens, command.priority, command.lifetime, command.backdated, command.key],
          // the moment is part of the request: a grant by the clock is never the same twice
          key: command.key,
        };
      case "deduct":
        return {
          sql: "public.deduct_tokens_with_fifo($1, $2, 'chat_conversation', $3)",
          args: [command.tokens, command.key],
          key: command.key,
        };
      case "track":
        return {
          sql: `public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2, p_success => $3,
                  p_on_shortage => $4, p_idempotency_key => $5)`,
          args: [command.tokens, command.success, command.partial ? "partial" : "reject", command.key],
          key: command.key,
        };
      case "reserve":
        return {
          sql: "public.reserve_tokens($1, $2, $3, 'chat_conversation', $4)",
          args: [command.tokens, command.ttl, command.key],
          key: command.key,
        };
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
      case "void": {
        const grant = pick(this.grantIds, command.grant);
        return grant === undefined
          ? null
          : {
              sql: "public.void_grant($1, $2, null, $3, $4)",
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
      if (first.request !== request || command.do === "grant") return { refused: "idempotency_key_reused" };
      return {
        learn: (receipt) => {
          // a hold's status is what it is now, and the clock of the test moves moments into the past
          const lasting = (answer: object) =>
            JSON.stringify(answer, (name, value: unknown) =>
              ["status", "granted_at", "expires_at"].includes(name) ? undefined : value,
            );
          same(
            command,
            JSON.parse(lasting(receipt)),
            JSON.parse(lasting({ ...first.receipt, replayed: true })),
          );
          return "replayed";
        },
      };
    }
    let learn: (receipt: Record<string, unknown>) => string | null;
    try {
      learn = this.act(command);
    } catch (error) {
      if (error instanceof Refused) return { refused: error.message };
      throw error;
    }
    return {
      learn: (receipt) => {
        const outcome = learn(receipt);
        const isKept = outcome !== "short" && outcome !== null;
        if (call.key !== null && isKept) {
          this.keys.set(call.key, { request, receipt });
          this.keyed.push(command);
        }
        return outcome ?? "nothing";
      },
    };
  }

  private act(command: Command): (receipt: Record<string, unknown>) => string | null {
    const { books } = this;
    switch (command.do) {
      case "grant": {
        books.grant(command.tokens, command.priority, command.lifetime, command.backdated);
        return (receipt) => {
          this.grantIds.push(receipt["grant_id"] as string);
          return "granted";
        };
      }
      case "deduct":
        return this.spend(command, command.tokens, true);
      case "adjust": {
        if (command.delta < 0) return this.spend(command, -command.delta, false);
        books.grant(command.delta, 50, 365 * 86_400);
        return (receipt) => {
          this.grantIds.push(receipt["grant_id"] as string);
          same(command, receipt["success"], true);
          return "granted";
        };
      }
      case "track": {
        const wanted = command.success ? command.tokens : 0;
        if (!command.partial && wanted > books.active) return this.short(command, wanted);
        const taken = Math.min(wanted, books.active);
        const parts = books.take(taken);
        return (receipt) => {
          this.compare(command, receipt, {
            success: true,
            tokens_deducted: taken,
            tokens_remaining_to_deduct: wanted - taken,
            deducted_from: parts,
            tokens_remaining: books.active,
            replayed: false,
          });
          if (taken > 0) books.charge(receipt["transaction_id"] as number, taken, parts, true);
          return taken < wanted ? "partly" : command.success ? "tracked" : "failed";
        };
      }
      case "reserve": {
        if (command.tokens > books.active) return this.short(command, command.tokens);
        const hold = books.reserve(command.tokens, command.ttl);
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
        const { restored, forfeited } = books.refund(
          charge,
          command.tokens ?? before,
          command.days === null ? null : command.days * 86_400,
        );
        const reissued = restored.find(([n]) => n >= this.grantIds.length);
        return (receipt) => {
          const lists = receipt as { restored: { grant_id: string }[] };
          if (reissued !== undefined) this.grantIds.push(lists.restored.at(-1)!.grant_id);
          this.compare(command, receipt, {
            success: true,
            tokens_refunded: command.tokens ?? before,
            restored,
            forfeited,
            tokens_refundable: charge.tokens - charge.refunded,
            tokens_remaining: books.active,
            replayed: false,
          });
          return reissued ? "reissued" : forfeited.length > 0 ? "forfeited" : "restored";
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
      default:
        throw new Error(`no model for ${command.do}`);
    }
  }

  private spend(command: Command, tokens: number, isUse: boolean) {
    const { books } = this;
    if (tokens > books.active) return this.short(command, tokens);
    const parts = books.take(tokens);
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: true,
        tokens_remaining_to_deduct: 0,
        deducted_from: parts,
        tokens_remaining: books.active,
        replayed: false,
      });
      books.charge(receipt["transaction_id"] as number, tokens, parts, isUse);
      return "deducted";
    };
  }

  private short(command: Command, wanted: number) {
    const available = this.books.active;
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: false,
        tokens_remaining_to_deduct: wanted - available,
        transaction_id: null,
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
    const over = Math.max(tokens - hold.tokens, 0);
    if (over > 0 && command.over === "reject") throw new Refused("capture_exceeds_hold");
    if (over > books.active && command.over === "deduct") {
      const available = books.active;
      return (receipt: Record<string, unknown>) => {
        this.compare(command, receipt, {
          success: false,
          status: "open",
          tokens_remaining_to_deduct: over - available,
          replayed: false,
        });
        return "short";
      };
    }
    const captured = Math.min(tokens, hold.tokens);
    const parts = takeFront(hold.parts, captured);
    const more = command.over === "deduct" ? books.take(over) : [];
    books.settle(hold, captured, "captured");
    return (receipt: Record<string, unknown>) => {
      this.compare(command, receipt, {
        success: true,
        status: "captured",
        tokens_captured: captured,
        tokens_released: hold.tokens - captured,
        tokens_deducted: captured + sum(more.map(([, part]) => part)),
        tokens_remaining_to_deduct: command.over === "cap" ? over : 0,
        deducted_from: [...parts, ...more],
        tokens_remaining: books.active,
        replayed: false,
      });
      if (captured > 0) books.charge(receipt["transaction_id"] as number, captured, parts, true);
      if (more.length > 0) books.charge(receipt["overage_transaction_id"] as number, over, more, true);
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
