// @module-tag proof
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asService, asUser, type Claims, createUser, rpc } from "../../support/roles.ts";
import { keep, type Tried } from "./promise.ts";
import { dispute, moment } from "../../support/provider-events.ts";

keep({
  id: "P25",
  promise: "Every change of a balance is booked, with who did it, why, and under which key for which request",
  trial:
    "Random calls by users, members of teams, admins and the server, who say in their metadata and their tokens that they are somebody else: each change of an account, of a grant or of a debt is the sum of the entries that the call wrote; these have the caller as their actor (the books themselves, where time did it), their reason, and their key with the request it stands for",
  run: (scale) => tryIt(scale === "long" ? 8_000 : 400, null),
  control: {
    variant:
      "the admin's id is taken from their user_metadata; a deduction changes the balance beside its entry",
    // both have to be seen through
    run: async () => {
      const named = await tryIt(150, "admin-is-who-he-says");
      const beside = await tryIt(150, "balance-changes-without-an-entry");
      const seen = [
        named.examples!.find((it) => it.includes("says that")),
        beside.examples!.find((it) => it.includes("its entries say")),
      ];
      return {
        times: named.times + beside.times,
        unit: "calls",
        mix: {},
        violations: seen.includes(undefined) ? 0 : named.violations + beside.violations,
        examples: seen.filter((it) => it !== undefined),
      };
    },
  },
});

interface Actor {
  role: "user" | "admin" | "service";
  id: string | null;
}

/** One call, and what its entries must say. */
interface Call {
  name: string;
  args: Record<string, unknown>;
  by: Actor;
  key?: string;
  reason?: string;
}

interface Entry {
  user_id: string;
  id: number;
  entry_type: string;
  tokens: number;
  reserved_change: number;
  debt_change: number;
  actor_role: string;
  actor_id: string | null;
  member_id: string | null;
  reason: string;
  idempotency_key: string | null;
  request: object | null;
}

/** Where an account stands. */
interface Standing {
  remaining: number;
  reserved: number;
  owed: number;
  last: number;
}

async function tryIt(calls: number, mutant: string | null): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    const admins = [await createUser(db, { admin: true }), await createUser(db, { admin: true })] as const;
    await Promise.all(
      [0, 1, 2, 3].map(async (lane) => {
        // new users now and then, so that each is met without anything too
        for (let done = 0; done < calls / 4; done += 100) {
          const some = await Lane.open(db, admins, new Dice(seed + lane * 1_000_003 + done));
          for (let nth = 0; nth < Math.min(100, calls / 4); nth++) await some.step(mix, wrong);
        }
      }),
    );
    if (mutant === null) {
      wrong.push(...(await breaches(db)), ...(await unattributed(db)));
      const missing = ["user", "admin", "service", "system"].filter((it) => !mix[`entries by ${it}`]);
      if (missing.length > 0) wrong.push(`no entries by ${missing.join(", ")}`);
    }
    const examples = [...new Set(wrong)].slice(0, 5);
    return { times: calls, unit: `calls (seed ${seed})`, mix, violations: wrong.length, examples };
  } finally {
    await db.drop();
  }
}

/** Entries that say too little, from the table alone. */
async function unattributed(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query<{ entry: string }>(
    `select t.entry_type || ' ' || t.id || ' of ' || t.user_id as entry
       from public.token_transactions t
      where t.reason !~ '\\S'
         or (t.actor_role in ('user', 'admin')) <> (t.actor_id is not null)
         or (t.idempotency_key is null) <> (t.request is null)
         or t.actor_role = 'user' and t.actor_id not in (t.user_id, coalesce(t.member_id, t.user_id))
         or t.actor_role = 'admin' and not exists (select from tokenbook.admins a where a.user_id = t.actor_id)`,
  );
  return rows.map(({ entry }) => `says too little: ${entry}`);
}

/** What the books do by themselves when its time has come, in any caller's call. */
const ofTime = ["expiry", "release", "debt_repayment", "grant", "rollover"];

/** A few users of their own, one of them a member of another's team, and what they do one after the other. */
class Lane {
  private readonly db: Database;
  private readonly dice: Dice;
  private readonly admins: readonly string[];
  private readonly users: readonly string[];
  private readonly member: string;
  private readonly payer: string;
  private readonly holds: { of: string; id: string }[] = [];
  private readonly charges: { of: string; id: number }[] = [];
  private readonly grants: { of: string; id: string }[] = [];
  private readonly payments: { of: string; id: string }[] = [];
  private last: Call | undefined;
  private number = 0;

  private constructor(db: Database, admins: readonly string[], users: readonly string[], dice: Dice) {
    this.db = db;
    this.admins = admins;
    this.users = users;
    this.dice = dice;
    [, this.payer, this.member] = users as [string, string, string];
  }

  static async open(db: Database, admins: readonly string[], dice: Dice): Promise<Lane> {
    const users = [await createUser(db), await createUser(db), await createUser(db)];
    await asService(db, (client) =>
      rpc(client, "add_token_team_member", { p_user_id: users[1], p_member_id: users[2] }),
    );
    return new Lane(db, admins, users, dice);
  }

  /** One call, and every change that it made held against its entries. */
  async step(mix: Record<string, number>, wrong: string[]): Promise<void> {
    const again = this.last?.key !== undefined && this.dice.chance(0.1);
    const call = again ? this.last! : this.next();
    this.last = call;
    const before = await this.standings();
    const { receipt, refused } = await this.make(call);
    const after = await this.standings();
    const entries = await this.entriesBetween(before, after);

    const outcome =
      refused ?? (receipt?.["replayed"] ? "replayed" : receipt?.["success"] === false ? "short" : "done");
    mix[`${call.name}: ${outcome}`] = (mix[`${call.name}: ${outcome}`] ?? 0) + 1;
    for (const entry of entries) {
      mix[`entries by ${entry.actor_role}`] = (mix[`entries by ${entry.actor_role}`] ?? 0) + 1;
    }
    const shown = `${call.name} by ${call.by.role}`;
    wrong.push(...this.unexplained(before, after, entries).map((it) => `${shown}: ${it}`));
    wrong.push(...this.misattributed(call, entries, outcome).map((it) => `${shown}: ${it}`));
    if (outcome === "done" || outcome === "replayed") this.learn(call, receipt!);
  }

  /** Changes that are not the sum of the entries about them. */
  private unexplained(
    before: Map<string, Standing>,
    after: Map<string, Standing>,
    entries: Entry[],
  ): string[] {
    return this.users.flatMap((user) => {
      const [was, is] = [before.get(user) ?? nothing, after.get(user) ?? nothing];
      const theirs = entries.filter((entry) => entry.user_id === user);
      const sum = (of: (entry: Entry) => number) => theirs.reduce((total, entry) => total + of(entry), 0);
      const found = [
        is.remaining - was.remaining,
        is.reserved - was.reserved,
        is.owed - was.owed,
        is.last - was.last,
      ];
      const said = [
        sum(({ tokens, reserved_change }) => tokens - reserved_change),
        sum(({ reserved_change }) => reserved_change),
        sum(({ debt_change }) => debt_change),
        theirs.length,
      ];
      return found.join() === said.join()
        ? []
        : [
            `balance, reserve, debt and number of entries have changed by ${found.join(", ")}, and its entries say ${said.join(", ")}`,
          ];
    });
  }

  /** Entries that do not say who made this call, why, and under which key. */
  private misattributed({ by, key, reason }: Call, entries: Entry[], outcome: string): string[] {
    const own = entries.filter(({ actor_role }) => actor_role !== "system");
    const faults = entries.flatMap((entry) => {
      const { entry_type: type, actor_role: role, actor_id: id } = entry;
      if (role === "system") {
        return id === null && ofTime.includes(type) ? [] : [`${type} says that the books did it`];
      }
      return [
        ...(role === by.role && id === by.id
          ? []
          : [`${type} says that ${role} ${id} did it, and not ${by.id}`]),
        ...(role !== "user" || id === (entry.member_id ?? entry.user_id)
          ? []
          : [`${type} is of another user`]),
        ...(entry.idempotency_key === null || entry.idempotency_key === key
          ? []
          : [`${type} has another key`]),
        ...((entry.idempotency_key === null) === (entry.request === null)
          ? []
          : [`${type}: a key without its request`]),
        ...(/\S/.test(entry.reason) ? [] : [`${type} has no reason`]),
      ];
    });
    if (outcome !== "done" && own.length > 0) faults.push(`${outcome}, and booked`);
    if (outcome === "done" && key !== undefined) {
      const keyed = own.filter(({ idempotency_key }) => idempotency_key === key);
      if (keyed.length !== 1) faults.push(`the key is on ${keyed.length} entries`);
      if (reason !== undefined && keyed[0]?.reason !== reason)
        faults.push(`the reason is "${keyed[0]?.reason}"`);
    }
    return faults;
  }

  private async standings(): Promise<Map<string, Standing>> {
    const { rows } = await this.db.admin.query(
      `select a.user_id, a.tokens_remaining::float8 as remaining, a.tokens_reserved::float8 as reserved,
              a.tokens_owed::float8 as owed, a.last_transaction_id::float8 as last
         from public.token_accounts a where a.user_id = any ($1)`,
      [this.users],
    );
    return new Map(rows.map(({ user_id, ...standing }) => [user_id as string, standing as Standing]));
  }

  /** Up to where `after` was read: the sweep of another lane may come at any moment. */
  private async entriesBetween(
    before: Map<string, Standing>,
    after: Map<string, Standing>,
  ): Promise<Entry[]> {
    const { rows } = await this.db.admin.query<Entry>(
      `select t.user_id, t.id::float8, t.entry_type, t.tokens::float8, t.reserved_change::float8, t.debt_change::float8,
              t.actor_role, t.actor_id, t.member_id, t.reason, t.idempotency_key, t.request
         from public.token_transactions t
         join unnest($1::uuid[], $2::bigint[], $3::bigint[]) as u (user_id, first, last) on u.user_id = t.user_id and t.id > u.first and t.id <= u.last
        order by t.user_id, t.id`,
      [this.users, ...[before, after].map((at) => this.users.map((user) => at.get(user)?.last ?? 0))],
    );
    return rows;
  }

  /** Makes the call, in a token that says in every place that users can write that the caller is somebody else. */
  private async make({
    name,
    args,
    by,
  }: Call): Promise<{ receipt?: Record<string, unknown>; refused?: string }> {
    const work = (client: pg.ClientBase) => rpc(client, name, args);
    const lies = { role: "admin", admin_id: this.users[0], actor_id: this.users[0], sub: this.users[0] };
    const claims: Claims = {
      sub: by.id,
      role: "authenticated",
      aud: "authenticated",
      actor_id: this.users[0],
      user_metadata: lies,
      app_metadata: {
        provider: "email",
        ...(by.role === "admin" && { role: "admin" }),
      },
    };
    try {
      const receipt =
        by.role === "service" ? await asService(this.db, work) : await asUser(this.db, claims, work);
      return { receipt };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (!/^(PT\d{3}|42501)$/.test(String(code))) throw error;
      return { refused: message };
    }
  }

  private learn({ name, args }: Call, receipt: Record<string, unknown>): void {
    const of = String(args["p_user_id"]);
    if (receipt["hold_id"] && name === "reserve_tokens")
      this.holds.push({ of, id: String(receipt["hold_id"]) });
    if (receipt["transaction_id"] && /deduct|track|capture/.test(name)) {
      this.charges.push({ of: of === this.member ? this.payer : of, id: Number(receipt["transaction_id"]) });
    }
    if (receipt["grant_id"]) this.grants.push({ of, id: String(receipt["grant_id"]) });
    if (receipt["payment_id"] && name === "create_token_payment") {
      this.payments.push({ of, id: String(receipt["payment_id"]) });
    }
  }

  /** The next call, by somebody who may make it. */
  private next(): Call {
    const { dice } = this;
    const user = dice.any(this.users);
    const operator = (): Actor =>
      dice.chance(0.6) ? { role: "admin", id: dice.any(this.admins) } : { role: "service", id: null };
    const anyone = (): Actor => (dice.chance(0.6) ? { role: "user", id: user } : operator());
    const key = dice.chance(0.6) ? `key-${++this.number}` : undefined;
    const reason = dice.chance(0.5) ? `because of ${this.number}` : undefined;
    const said = {
      ...(key !== undefined && { p_idempotency_key: key }),
      ...(dice.chance(0.3) && {
        p_metadata: { actor_id: this.users[0], actor_role: "admin", reason: "none" },
      }),
    };
    const why = reason !== undefined && { p_reason: reason };
    const call = (
      name: string,
      by: Actor,
      args: object,
      more: { key?: string; reason?: string } = {},
    ): Call => ({
      name,
      by,
      args: args as Record<string, unknown>,
      ...more,
    });
    const both = { ...(key !== undefined && { key }), ...(reason !== undefined && { reason }) };
    const onlyKey = key === undefined ? {} : { key };
    const { p_metadata: _, ...keyOnly } = said as { p_metadata?: object };
    const few = 1 + dice.below(120);
    const hold = this.holds.length > 0 ? dice.any(this.holds) : { of: user, id: randomUUID() };
    const charge = this.charges.length > 0 ? dice.any(this.charges) : { of: user, id: 1 };
    const grant = this.grants.length > 0 ? dice.any(this.grants) : { of: user, id: randomUUID() };
    const payment = this.payments.length > 0 ? dice.any(this.payments) : { of: user, id: randomUUID() };
    const soon = new Date(Date.now() + 20 + dice.below(150)).toISOString();

    return dice.any<() => Call>([
      ...Array.from(
        { length: 3 },
        () => () =>
          call(
            "grant_tokens",
            operator(),
            {
              p_user_id: user,
              p_tokens: few * 3,
              p_grant_type: "purchase",
              ...said,
              ...why,
              ...(dice.chance(0.4) && { p_expires_at: soon }),
            },
            both,
          ),
      ),
      ...Array.from(
        { length: 4 },
        () => () =>
          call(
            "deduct_tokens_with_fifo",
            anyone(),
            { p_user_id: user, p_tokens_to_deduct: few, ...said },
            onlyKey,
          ),
      ),
      ...Array.from(
        { length: 2 },
        () => () =>
          call(
            "track_token_usage",
            anyone(),
            {
              p_user_id: user,
              p_action_type: "chat_conversation",
              p_tokens_used: few,
              ...said,
              p_success: dice.chance(0.8),
              p_on_shortage: dice.any(["reject", "partial"]),
            },
            onlyKey,
          ),
      ),
      ...Array.from(
        { length: 3 },
        () => () =>
          call(
            "reserve_tokens",
            anyone(),
            {
              p_user_id: user,
              p_tokens: few,
              p_ttl_seconds: dice.any([1, 900]),
              ...said,
            },
            onlyKey,
          ),
      ),
      ...Array.from(
        { length: 2 },
        () => () =>
          call("capture_tokens", dice.chance(0.5) ? { role: "user", id: hold.of } : operator(), {
            p_user_id: hold.of,
            p_hold_id: hold.id,
            p_tokens: dice.below(150),
          }),
      ),
      () =>
        call("release_tokens", dice.chance(0.5) ? { role: "user", id: hold.of } : operator(), {
          p_user_id: hold.of,
          p_hold_id: hold.id,
        }),
      ...Array.from(
        { length: 2 },
        () => () =>
          call(
            "refund_tokens",
            operator(),
            {
              p_user_id: charge.of,
              p_transaction_id: charge.id,
              p_tokens: 1 + dice.below(20),
              ...keyOnly,
              ...why,
            },
            both,
          ),
      ),
      () =>
        call(
          "void_token_grant",
          operator(),
          {
            p_user_id: grant.of,
            p_grant_id: grant.id,
            p_take_back: dice.chance(0.5),
            ...keyOnly,
            ...why,
          },
          both,
        ),
      ...Array.from(
        { length: 2 },
        () => () =>
          call(
            "adjust_tokens",
            operator(),
            {
              p_user_id: user,
              p_delta: dice.chance(0.5) ? few : -few,
              ...said,
              ...why,
            },
            both,
          ),
      ),
      () =>
        call("create_token_payment", anyone(), {
          p_user_id: user,
          p_to_plan: dice.any(["starter", "professional"]),
        }),
      () =>
        call("approve_token_payment", operator(), {
          p_user_id: payment.of,
          p_payment_id: payment.id,
          ...why,
        }),
      () =>
        call(
          "record_token_payment_event",
          { role: "service", id: null },
          {
            p_provider: "stripe",
            p_event_id: `evt_${randomUUID()}`,
            p_event_type: "of the trial",
            p_provider_payment_id: `pi_${this.payer}_${dice.below(3)}`,
            p_facts: {
              ...dice.any<object>([
                { kind: "paid" },
                { kind: "paid" },
                { kind: "refunded" },
                dispute("open"),
                dispute("won"),
              ]),
              occurred_at: moment(),
              user_id: this.payer,
              plan_type: "professional",
              amount_cents: 3900,
              currency: "usd",
              refunded_cents: 1e3,
            },
          },
        ),
      () => call("expire_old_token_grants", { role: "service", id: null }, {}),
      () => call("get_user_token_balance", anyone(), { p_user_id: user }),
      // and who may not
      () => call("grant_tokens", { role: "user", id: user }, { p_user_id: user, p_tokens: few }),
      () => call("adjust_tokens", { role: "user", id: user }, { p_user_id: this.payer, p_delta: few }),
    ])();
  }
}

const nothing: Standing = { remaining: 0, reserved: 0, owed: 0, last: 0 };
