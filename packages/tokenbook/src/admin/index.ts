/** What an admin's page imports from `tokenbook/admin`. An app that users load has none of it. */
import type { Patience } from "../../../../supabase/functions/_shared/until-heard.ts";
import type {
  CodePage,
  DeliveryPage,
  Discrepancy,
  Erasure,
  LedgerBreach,
  ParkedDismissal,
  ParkedPayment,
  PaymentsForAdmin,
  Reconciliation,
  ReplayedGrant,
  UserDetails,
  UserPage,
} from "../client/answers.ts";
import { asking, noting, type SupabaseLike } from "../client/asking.ts";

export { planRepair, type Repair } from "../data/repair-plan.ts";

interface Stoppable {
  /** Stops the request, and the waiting. */
  signal?: AbortSignal | undefined;
}

export interface UsersOptions extends Stoppable {
  /** A part of their address, or their id. Left out: everyone. */
  search?: string | undefined;
  /** Default `last_active`. */
  sort?: "email" | "balance" | "used" | "last_active" | undefined;
  /** Default: true. */
  descending?: boolean | undefined;
  /** 1 to 200. Default 50. */
  limit?: number | undefined;
  /** `next_after` of the page before, in the same order. */
  after?: string | null | undefined;
}

export interface DiscrepanciesOptions extends Stoppable {
  /** What is of so many tokens or fewer is left out. Default 100. */
  threshold?: number | undefined;
  /** Of the users after this one, up to that one, by their ids. */
  after?: string | undefined;
  until?: string | undefined;
}

export interface RangeOptions extends Stoppable {
  /** Of one user. Left out: everyone. */
  userId?: string | undefined;
  after?: string | undefined;
  until?: string | undefined;
}

export interface PaymentsOptions extends Stoppable {
  status?: "pending" | "approved" | "rejected" | "refunded" | undefined;
  userId?: string | undefined;
  /** 1 to 200. Default 50. */
  limit?: number | undefined;
}

export interface PageOptions extends Stoppable {
  limit?: number | undefined;
}

/**
 * The books, as those see them who look after all of them. For an admin who is signed in, or the server: the database
 * refuses everybody else. What is done for one user is {@link Tokenbook}'s.
 */
export interface AdminBooks {
  /** Users with what they have, in pages. */
  users(options?: UsersOptions): Promise<UserPage>;
  /** What the tables show a user of themself alone. */
  user(userId: string, options?: Stoppable): Promise<UserDetails>;
  /** Erases what is personal of a user from the books, a portion a call: until `is_done`. */
  forget(userId: string, options?: Stoppable): Promise<Erasure>;
  /** Payments of everyone or of one user, newest first, and those that are parked: by the edge function `payments`. */
  payments(options?: PaymentsOptions): Promise<PaymentsForAdmin>;
  /** Payments that were paid at a provider and give nothing yet, oldest first. */
  parked(options?: PageOptions): Promise<ParkedPayment[]>;
  /** Takes a parked payment off the list; it gives nothing. */
  dismissParked(
    provider: string,
    providerPaymentId: string,
    options: Stoppable & { reason: string },
  ): Promise<ParkedDismissal>;
  /** Users whose balance or cost is not what the records say, the largest difference first. */
  discrepancies(options?: DiscrepanciesOptions): Promise<Discrepancy[]>;
  /** One user's books against their records. */
  reconcile(userId: string, options?: Stoppable): Promise<Reconciliation>;
  /** What each grant would have if all had been spent exactly, beside what it has. */
  replay(options?: RangeOptions): Promise<ReplayedGrant[]>;
  /** Breaches of the books; none is right. */
  verify(options?: RangeOptions): Promise<LedgerBreach[]>;
  /** Codes that give tokens, newest first. */
  codes(options?: PageOptions & { before?: number | undefined }): Promise<CodePage>;
  /** Deliveries of webhooks of the last 30 days, newest first. */
  deliveries(
    options?: PageOptions & { status?: "pending" | "delivered" | "given_up"; before?: number | undefined },
  ): Promise<DeliveryPage>;
}

/**
 * @example
 * ```ts
 * const all = tokenbookAdmin(supabase);
 * const { users, next_after } = await all.users({ search: "@example.com", sort: "balance" });
 * ```
 */
export function tokenbookAdmin(
  supabase: SupabaseLike,
  { patience = {} }: { patience?: Patience | undefined } = {},
): AdminBooks {
  const { call, read } = asking(supabase, undefined, patience);
  return noting<AdminBooks>({
    users: (o = {}) =>
      call(
        "list_token_users",
        {
          p_search: o.search,
          p_sort: o.sort,
          p_descending: o.descending,
          p_limit: o.limit,
          p_after: o.after ?? undefined,
        },
        o,
      ),
    user: (userId, o = {}) => call("get_token_user", { p_user_id: userId }, o),
    forget: (userId, o = {}) => call("forget_token_user", { p_user_id: userId, p_limit: undefined }, o),
    payments: (o = {}) => {
      const { status, userId, limit } = o;
      return read(
        "payments",
        {
          ...(status === undefined ? {} : { status }),
          ...(userId === undefined ? {} : { userId }),
          ...(limit === undefined ? {} : { limit: String(limit) }),
        },
        o,
      );
    },
    parked: (o = {}) =>
      call(
        "list_parked_token_payments",
        {
          p_limit: o.limit,
          p_after_created_at: undefined,
          p_after_provider: undefined,
          p_after_payment_id: undefined,
        },
        o,
      ),
    dismissParked: (provider, providerPaymentId, o) =>
      call(
        "dismiss_parked_token_payment",
        { p_provider: provider, p_provider_payment_id: providerPaymentId, p_reason: o.reason },
        o,
      ),
    discrepancies: (o = {}) =>
      call("find_token_discrepancies", { p_threshold: o.threshold, p_after: o.after, p_until: o.until }, o),
    reconcile: (userId, o = {}) => call("reconcile_user_token_balance", { p_user_id: userId }, o),
    replay: (o = {}) =>
      call("replay_token_balances", { p_user_id: o.userId, p_after: o.after, p_until: o.until }, o),
    verify: (o = {}) =>
      call("verify_token_ledger", { p_user_id: o.userId, p_after: o.after, p_until: o.until }, o),
    codes: (o = {}) => call("list_token_codes", { p_limit: o.limit, p_before: o.before }, o),
    deliveries: (o = {}) =>
      call(
        "list_token_webhook_deliveries",
        { p_endpoint: undefined, p_status: o.status, p_limit: o.limit, p_before: o.before },
        o,
      ),
  });
}
