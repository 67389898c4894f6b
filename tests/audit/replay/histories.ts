/** Random histories, and how they lie in the tables. */
import fc from "fast-check";
import type { Database } from "../../support/database.ts";
import { EXPIRING_FIRST, type Event, type Grant, type History, Stored } from "./exact.ts";

/** The hour in which the tests look; no grant runs out at a half hour. */
export const NOW = 61.5;
const OPENED = 24;

const id = fc.uuid();
const priority = fc.constantFrom(50, 50, 50, 10, 90);
const tokens = fc.integer({ min: 1, max: 12 });

const oldGrant: fc.Arbitrary<Grant> = fc
  .record({
    id,
    origin: fc.constantFrom("transaction" as const, "transaction" as const, "app" as const),
    tokens,
    priority,
    grantedAt: fc.integer({ min: 0, max: 20 }),
    lifetime: fc.constantFrom(Infinity, Infinity, 4, 12, 30, 60),
    // what the simple hotfix makes of it, or what the app had left of it
    opens: fc.oneof(
      { weight: 3, arbitrary: fc.constant(1) },
      { weight: 2, arbitrary: fc.constantFrom(0, 0.5) },
    ),
  })
  .map(({ lifetime, opens, ...grant }) => ({
    ...grant,
    expiresAt: grant.grantedAt + lifetime,
    opening: grant.grantedAt + lifetime <= OPENED ? 0 : Math.floor(grant.tokens * opens),
  }));

const event = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .record({
        id,
        tokens,
        priority,
        backdated: fc.constantFrom(0, 0, 0, 3, 10),
        lifetime: fc.constantFrom(Infinity, Infinity, 3, 8, 25, 60),
      })
      .map((made) => ({ do: "grant" as const, ...made })),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("deduct" as const), tokens, newestFirst: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("hold" as const), tokens }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("settle" as const), hold: fc.nat(3), captured: fc.nat(8) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("refund" as const),
      charge: fc.nat(4),
      tokens: fc.integer({ min: 1, max: 5 }),
      reissue: fc.option(id),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clawback" as const), grant: fc.nat(4), tokens }) },
  {
    weight: 1,
    arbitrary: fc
      .record({ tokens, id, gives: fc.boolean(), isRare: fc.constantFrom(true, false, false) })
      .map(({ isRare, ...rest }) =>
        isRare ? { do: "repair" as const, ...rest } : { do: "hold" as const, tokens: rest.tokens },
      ),
  },
);

/** Half of the users are old; of the others nothing is older than the books. Faults are rare, or none. */
export const history: fc.Arbitrary<History> = fc
  .record({
    user: id,
    isOld: fc.boolean(),
    grants: fc.array(oldGrant, { maxLength: 6, size: "max" }),
    deductions: fc.array(fc.record({ at: fc.integer({ min: 0, max: 23 }), tokens }), {
      maxLength: 7,
      size: "max",
    }),
    trail: fc.constantFrom("transactions" as const, "usage" as const),
    isFaulty: fc.constantFrom(false, false, true),
    events: fc.array(event, { minLength: 6, maxLength: 24, size: "max" }),
    hours: fc.array(fc.constantFrom(0, 0, 1, 1, 2, 3), { minLength: 24, maxLength: 24 }),
  })
  .map(({ isOld, isFaulty, events, hours, ...rest }) => {
    let at = OPENED + 1;
    return {
      ...rest,
      grants: isOld ? rest.grants : [],
      deductions: isOld ? rest.deductions : [],
      openedAt: OPENED,
      events: events.map((one, n): Event => {
        at = Math.min(at + hours[n]!, Math.floor(NOW)); // nothing has happened that is still to come
        if (one.do === "deduct") return { ...one, at, newestFirst: isFaulty && one.newestFirst };
        if (one.do === "repair") {
          const { id: repairId, gives, tokens: amount } = one;
          const given: Grant | null = gives
            ? {
                id: repairId,
                origin: "ledger",
                tokens: amount,
                priority: 50,
                grantedAt: at,
                expiresAt: Infinity,
                opening: 0,
              }
            : null;
          return { do: "repair", at, tokens: amount, grant: given };
        }
        if (one.do !== "grant") return { ...one, at };
        const { backdated, lifetime, ...made } = one;
        return {
          do: "grant",
          at,
          grant: {
            ...made,
            origin: "ledger",
            grantedAt: at - backdated,
            expiresAt: at + lifetime,
            opening: 0,
          },
        };
      }),
    };
  });

/** Whether anything of this user is older than the books. */
export const isOld = (one: History) => one.grants.length + one.deductions.length > 0;

/**
 * Writes the histories into the tables as the books would have left them, with rows beside them that a
 * replay must leave alone: grants among the old transactions (one of the wrong sign), failed usage.
 */
export async function write(db: Database, histories: { history: History; stored: Stored }[]): Promise<void> {
  const rows: Record<"balances" | "accounts" | "ledger" | "old" | "usage" | "holds", object[]> = {
    balances: [],
    accounts: [],
    ledger: [],
    old: [],
    usage: [],
    holds: [],
  };
  for (const { history: one, stored } of histories) {
    const user_id = one.user;
    let n = 0;
    const old = (at: number, action_type: string, amount: number) =>
      rows.old.push({ user_id, id: n--, legacy_id: `${n}`, action_type, tokens: amount, at });
    const used = (at: number, action_type: string, amount: number, success = true) =>
      rows.usage.push({ user_id, action_type, tokens_used: amount, success, at });
    for (const [grant, left] of stored.pile.left) {
      rows.balances.push({
        user_id,
        id: grant.id,
        tokens_granted: grant.tokens,
        tokens_remaining: left,
        priority: grant.priority,
        granted_at: grant.grantedAt,
        expires_at: grant.expiresAt === Infinity ? null : grant.expiresAt,
        legacy_transaction_id: grant.origin === "transaction" ? grant.id : null,
        created_at: grant.origin === "ledger" ? Math.max(grant.grantedAt, one.openedAt + 1) : grant.grantedAt,
      });
      if (grant.origin === "transaction") old(grant.grantedAt, "token_pack_purchase", grant.tokens);
      if (grant.origin === "app") old(grant.grantedAt, "subscription_grant", -grant.tokens);
    }
    for (const { at, tokens: amount } of one.deductions) {
      if (one.trail === "transactions") old(at, "chat_conversation", -amount);
      else used(at, amount % 3 === 0 ? "admin_deduct" : "chat_conversation", amount);
    }
    used(5, "chat_conversation", 7, false);
    used(6, "admin_grant", 5);
    used(one.openedAt + 1, "chat_conversation", 9);
    if (one.trail === "transactions" && one.deductions.length > 0) used(7, "chat_conversation", 1_000);
    rows.accounts.push({ user_id });
    let balance = 0;
    for (const [at, entry] of stored.ledger.entries()) {
      if (at === 0 && !isOld(one)) continue;
      balance += entry.tokens - entry.reserved;
      rows.ledger.push({
        user_id,
        id: at + (isOld(one) ? 1 : 0),
        entry_type: entry.entryType,
        action_type: entry.isRepair
          ? entry.tokens > 0
            ? "admin_grant"
            : "admin_deduct"
          : entry.entryType === "grant"
            ? "token_pack_purchase"
            : "chat_conversation",
        reason: entry.isRepair ? "Reconciliation: balance_higher" : "no reconciliation",
        tokens: entry.tokens,
        balance_after: balance,
        debt_change: entry.debt,
        reserved_change: entry.reserved,
        grant_ids: entry.parts.map(([grant]) => grant.id),
        grant_tokens: entry.parts.map(([, part]) => part),
        hold_id:
          entry.hold === null ? null : `00000000-0000-4000-8000-${String(entry.hold).padStart(12, "0")}`,
        original_id: entry.original === null ? null : entry.original - (isOld(one) ? 0 : 1),
        at: entry.at,
      });
    }
  }
  // one moment for all rows: what happens in the same hour happens at the same instant
  const begin = Date.now() - NOW * 3_600_000;
  const moment = (hour: number) => new Date(begin + hour * 3_600_000).toISOString();
  const hour = (column: string) => `timestamptz '${moment(0)}' + ${column} * interval '1 hour'`;
  await db.admin.query(
    "insert into tokenbook.burn_orders (since, burn_order) values ($1, 'expiring_first'), ($2, 'fifo')",
    [moment(EXPIRING_FIRST.from), moment(EXPIRING_FIRST.until)],
  );
  const insert = async (data: object[], columns: string, select: string) => {
    for (let from = 0; from < data.length; from += 20_000)
      await db.admin.query(
        `${select.replace("$rows", `from json_to_recordset($1::text::json) as r (${columns})`)}`,
        [JSON.stringify(data.slice(from, from + 20_000))],
      );
  };
  await insert(
    rows.balances,
    "user_id uuid, id uuid, tokens_granted bigint, tokens_remaining bigint, priority smallint, granted_at float, expires_at float, legacy_transaction_id text, created_at float",
    `insert into public.token_balances (user_id, id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, is_open, legacy_transaction_id, created_at)
     select user_id, id, 'purchase', tokens_granted, tokens_remaining, priority, ${hour("granted_at")}, ${hour("expires_at")}, tokens_remaining > 0, legacy_transaction_id, ${hour("created_at")} $rows`,
  );
  await insert(
    rows.old,
    "user_id uuid, id bigint, legacy_id text, action_type text, tokens bigint, at float",
    `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, created_at)
     select user_id, id, legacy_id, action_type, tokens, ${hour("at")} $rows`,
  );
  await insert(
    rows.usage,
    "user_id uuid, action_type text, tokens_used bigint, success boolean, at float",
    `insert into public.token_usage (user_id, action_type, tokens_used, success, created_at)
     select user_id, action_type, tokens_used, success, ${hour("at")} $rows`,
  );
  await insert(
    rows.ledger,
    "user_id uuid, id bigint, entry_type text, action_type text, reason text, tokens bigint, balance_after bigint, debt_change bigint, reserved_change bigint, grant_ids uuid[], grant_tokens bigint[], hold_id uuid, original_id bigint, at float",
    `insert into public.token_transactions (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change, grant_ids, grant_tokens, hold_id, original_id, reason, actor_role, created_at)
     select user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change, grant_ids, grant_tokens, hold_id, original_id, reason, 'service', ${hour("at")} $rows`,
  );
  await insert(
    rows.accounts,
    "user_id uuid",
    `insert into public.token_accounts (user_id, last_transaction_id)
     select r.user_id, coalesce((select max(t.id) from public.token_transactions t where t.user_id = r.user_id), 0) $rows`,
  );
}
