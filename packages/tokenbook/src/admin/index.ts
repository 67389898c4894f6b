/** What an admin's page imports from `tokenbook/admin`. An app that users load has none of it. */
import { TokenbookError } from "../../../../supabase/functions/_shared/token-error.ts";
import { onlyKnown } from "../../../../supabase/functions/_shared/known-options.ts";
import type { Patience } from "../../../../supabase/functions/_shared/until-heard.ts";
import type {
  ActionCost,
  ActionCostSetting,
  AlertRule,
  Answers,
  CodePage,
  DeliveryPage,
  Discrepancy,
  EndedTokenCode,
  Erasure,
  Expiry,
  LedgerBreach,
  ModelPrice,
  ModelPriceSetting,
  ModelRate,
  ModelRateSetting,
  NewTokenCode,
  Pack,
  PackSetting,
  ParkedAssignment,
  ParkedDismissal,
  ParkedPayment,
  PaymentsForAdmin,
  Plan,
  PlanSetting,
  Reconciliation,
  RepeatedDelivery,
  ReplayedGrant,
  UserDetails,
  UserPage,
  WebhookEndpoint,
  WebhookEndpointRemoval,
} from "../client/answers.ts";
import { asking, noting, type Query, type SupabaseLike } from "../client/asking.ts";
import type { Moment } from "../client/options.ts";

/** The kinds of events that an endpoint can be told of, with what each says. */
export { eventKinds } from "../../../../supabase/functions/_shared/lists.ts";
export { planRepair, type Repair } from "../data/repair-plan.ts";

interface Stoppable {
  /** Stops the request, and the waiting. */
  signal?: AbortSignal | undefined;
}

/** Which users are listed, and in which order. */
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

/** From which difference on, and of which users. */
export interface DiscrepanciesOptions extends Stoppable {
  /** What is of so many tokens or fewer is left out. Default 100. */
  threshold?: number | undefined;
  /** Of the users after this one, up to that one, by their ids. */
  after?: string | undefined;
  until?: string | undefined;
}

/** Until when, and of which users. */
export interface ExpiriesOptions extends Stoppable {
  /** At most 366 days ahead. Default: 30 days. */
  to?: Moment | undefined;
  /** Of the users after this one, up to that one, by their ids. */
  after?: string | undefined;
  until?: string | undefined;
}

/** Whose books are looked at: one user's, or all between two ids. */
export interface RangeOptions extends Stoppable {
  /** Of one user. Left out: everyone. */
  userId?: string | undefined;
  after?: string | undefined;
  until?: string | undefined;
}

/** Which payments are listed. */
export interface PaymentsOptions extends Stoppable {
  status?: "pending" | "approved" | "rejected" | "refunded" | undefined;
  userId?: string | undefined;
  /** Which are first. Default `newest`. */
  order?: "newest" | "oldest" | undefined;
  /** The `next_after` of the page before, in the same order. */
  after?: string | null | undefined;
  /** 1 to 200. Default 50. */
  limit?: number | undefined;
}

/** At most how many are read. Each call has its own limit and default: docs/reference.md. */
export interface PageOptions extends Stoppable {
  limit?: number | undefined;
}

/** Which of the parked payments. */
export interface ParkedOptions extends Stoppable {
  /** The last one of the page before. */
  after?: Pick<ParkedPayment, "created_at" | "provider" | "provider_payment_id"> | null | undefined;
  /** 1 to 1000. Default 1000. */
  limit?: number | undefined;
}

/** Of the catalogue: fields of a row by their names, as the table has them; what is left out stays. */
type Fields<Row, Fixed extends keyof Row> = Partial<Omit<Row, Fixed | "created_at" | "updated_at">>;
/** What is said of a plan: the columns of `token_plans` that are set. */
export type PlanFields = Fields<Plan, "plan_type" | "tokens_per_period">;
/** What is said of a pack: the columns of `token_packs` that are set. */
export type PackFields = Fields<Pack, "pack_type">;
/** What a model costs users: the columns of `token_model_rates` that are set. */
export type ModelRateFields = Fields<ModelRate, "model_pattern" | "valid_from">;
/** What a model costs the project: the columns of `token_model_prices` that are set. */
export type ModelPriceFields = Fields<ModelPrice, "model" | "valid_from" | "source">;
/** What an action costs users: the columns of `token_action_costs` that are set. */
export type ActionCostFields = Fields<ActionCost, "action_type">;

/** Why the catalogue is changed. */
export interface CatalogueOptions extends Stoppable {
  /** 1 to 500 characters, kept with the change. */
  reason: string;
}

/** Why it is changed, and from which moment on that counts. */
export interface FromOptions extends CatalogueOptions {
  /** Left out: from now on. */
  validFrom?: Moment | undefined;
}

/** How often and when a code can be redeemed, and what its tokens are. */
export interface CodeOptions extends Stoppable {
  /** What it is for, 1 to 100 characters; users do not see it. */
  name: string;
  /** In all. Default 1. */
  maxRedemptions?: number | undefined;
  /** Default 1. */
  maxPerUser?: number | undefined;
  validFrom?: Moment | undefined;
  validUntil?: Moment | undefined;
  /** Days that its tokens live. Left out: as their type has it. */
  lifetimeDays?: number | undefined;
  /** Default `bonus`. */
  grantType?: string | undefined;
  /**
   * 4 to 64 letters and digits. Left out: 100 random bits, chosen by the books. A caller that chooses it beforehand can ask
   * again after a lost answer: `code_taken` then means that the first call made it.
   */
  code?: string | undefined;
}

/** What an endpoint is told of. */
export interface EndpointOptions extends Stoppable {
  /** What it is told of. Left out: everything. */
  kinds?: readonly string[] | undefined;
  /** Default: true. */
  isEnabled?: boolean | undefined;
}

/** Whose a parked payment is, and what was bought. */
export interface AssignOptions extends Stoppable {
  userId: string;
  /** What was bought, where that is not known: a plan, or packs. */
  planType?: string | undefined;
  packType?: string | undefined;
  quantity?: number | undefined;
}

/** Functions that go through everybody: a read replica is asked for them, where there is one. */
const swept: ReadonlySet<keyof Answers> = new Set([
  "list_token_expiries",
  "find_token_discrepancies",
  "verify_token_ledger",
]);

/** How the client of an admin is to be. */
export interface AdminBooksOptions {
  /** How often and how patiently the books are asked. */
  patience?: Patience | undefined;
  /**
   * A client of a read replica, or of the load balancer in front of it, with the same keys and the same admin: it is
   * asked, by GET, for what goes through everybody: `expiries`, `discrepancies`, and `verify` of everyone or of a range.
   * What it cannot answer (`read_only`) is asked of the first client; when it does not answer, the call is `unavailable`.
   *
   * What an admin looks at in order to act, or right after they did, must not be a moment old. So users, payments, what
   * is parked, `reconcile`, `replay`, `verify` of one user, the catalogue, codes and webhooks are asked of the first
   * client, as is everything that writes. Usage of everyone and revenue: `tokenbook(supabase, { reads })`.
   */
  reads?: SupabaseLike | undefined;
}

/**
 * The books, as those see them who look after all of them. For an admin who is signed in, or the server: the database
 * refuses everybody else. What is done for one user is {@link Tokenbook}'s.
 */
export interface AdminBooks {
  /**
   * Users with what they have, in pages.
   *
   * @example
   * ```ts
   * const { users, next_after } = await admin.users({ search: "@example.com", sort: "balance", limit: 20 });
   * ```
   */
  users(options?: UsersOptions): Promise<UserPage>;
  /**
   * What the tables show a user of themself alone.
   *
   * @example
   * ```ts
   * const { subscription, holds, alerts } = await admin.user(userId);
   * ```
   */
  user(userId: string, options?: Stoppable): Promise<UserDetails>;
  /**
   * Erases what is personal of a user from the books, a portion a call: until `is_done`.
   *
   * @example
   * ```ts
   * while (!(await admin.forget(userId)).is_done);
   * ```
   */
  forget(userId: string, options?: Stoppable): Promise<Erasure>;
  /**
   * Payments of everyone or of one user, newest first or oldest first, in pages, and those that are parked: by the edge
   * function `payments`.
   *
   * @example
   * ```ts
   * const { payments, next_after, parked } = await admin.payments({ status: "pending", order: "oldest" });
   * ```
   */
  payments(options?: PaymentsOptions): Promise<PaymentsForAdmin>;
  /**
   * Payments that were paid at a provider and give nothing yet, oldest first, in pages: `after` is the last one of the
   * page before.
   *
   * @example
   * ```ts
   * for (const { provider_payment_id, explanation } of await admin.parked()) show(provider_payment_id, explanation);
   * ```
   */
  parked(options?: ParkedOptions): Promise<ParkedPayment[]>;
  /**
   * Takes a parked payment off the list; it gives nothing.
   *
   * @example
   * ```ts
   * await admin.dismissParked("stripe", providerPaymentId, { reason: "bought in another shop" });
   * ```
   */
  dismissParked(
    provider: string,
    providerPaymentId: string,
    options: Stoppable & { reason: string },
  ): Promise<ParkedDismissal>;
  /**
   * Says whose a parked payment is, and what was bought where that is not known; it is then as any other.
   *
   * @example
   * ```ts
   * await admin.assignParked("stripe", providerPaymentId, { userId, packType: "small" });
   * ```
   */
  assignParked(
    provider: string,
    providerPaymentId: string,
    options: AssignOptions,
  ): Promise<ParkedAssignment>;
  /**
   * What is about to run out, by day, of everyone or of the users of a range.
   *
   * @example
   * ```ts
   * for (const { day, tokens, users } of await admin.expiries()) show(day, tokens, users);
   * ```
   */
  expiries(options?: ExpiriesOptions): Promise<Expiry[]>;
  /**
   * Users whose balance or cost is not what the records say, the largest difference first.
   *
   * @example
   * ```ts
   * for (const { email, remaining_difference, scenarios } of await admin.discrepancies({ threshold: 1_000 }))
   *   show(email, remaining_difference, scenarios);
   * ```
   */
  discrepancies(options?: DiscrepanciesOptions): Promise<Discrepancy[]>;
  /**
   * Compares one user's books with their records, and names each difference.
   *
   * @example
   * ```ts
   * const { remaining_difference, findings } = await admin.reconcile(userId);
   * ```
   */
  reconcile(userId: string, options?: Stoppable): Promise<Reconciliation>;
  /**
   * What each grant would have if all had been spent exactly, beside what it has.
   *
   * @example
   * ```ts
   * const wrong = (await admin.replay({ userId })).filter(({ difference }) => difference !== 0);
   * ```
   */
  replay(options?: RangeOptions): Promise<ReplayedGrant[]>;
  /**
   * Breaches of the books; none is right.
   *
   * @example
   * ```ts
   * const breaches = await admin.verify();
   * if (breaches.length > 0) show(breaches);
   * ```
   */
  verify(options?: RangeOptions): Promise<LedgerBreach[]>;
  /**
   * Makes a plan, or changes what is said of it: from each user's next period on.
   *
   * @example
   * ```ts
   * await admin.setPlan("professional", { price_cents: 2_900 }, { reason: "the prices of spring" });
   * ```
   */
  setPlan(planType: string, plan: PlanFields, options: CatalogueOptions): Promise<PlanSetting>;
  /**
   * Makes a pack, or changes what is said of it: for purchases from now on.
   *
   * @example
   * ```ts
   * await admin.setPack(
   *   "large",
   *   { name: "Large", tokens: 50_000, price_cents: 2_000, currency: "eur" },
   *   { reason: "a larger pack" },
   * );
   * ```
   */
  setPack(packType: string, pack: PackFields, options: CatalogueOptions): Promise<PackSetting>;
  /**
   * What models cost users: by pattern, newest first, those to come included.
   *
   * @example
   * ```ts
   * for (const { model_pattern, tokens_per_output } of await admin.modelRates()) show(model_pattern, tokens_per_output);
   * ```
   */
  modelRates(options?: PageOptions & { after?: string | undefined }): Promise<ModelRate[]>;
  /**
   * Says what models of a pattern cost users from a moment on; null: no rate from then on.
   *
   * @example
   * ```ts
   * await admin.setModelRate("gpt-4.1*", { tokens_per_input: 1, tokens_per_output: 4 }, { reason: "by what they cost" });
   * ```
   */
  setModelRate(
    modelPattern: string,
    rate: ModelRateFields | null,
    options: FromOptions,
  ): Promise<ModelRateSetting>;
  /**
   * What models cost the project: by model, newest first, those to come included.
   *
   * @example
   * ```ts
   * const [price] = await admin.modelPrices({ search: "gpt-4.1" });
   * ```
   */
  modelPrices(
    options?: PageOptions & {
      /** A part of the name. */
      search?: string | undefined;
      /** Of the models after this one. */
      after?: string | undefined;
    },
  ): Promise<ModelPrice[]>;
  /**
   * Says what a model costs the project from a moment on, in cents for a million tokens.
   *
   * @example
   * ```ts
   * await admin.setModelPrice(
   *   "gpt-4.1-mini",
   *   { input_cents_per_million: 40, output_cents_per_million: 160 },
   *   { reason: "the provider's list" },
   * );
   * ```
   */
  setModelPrice(model: string, price: ModelPriceFields, options: FromOptions): Promise<ModelPriceSetting>;
  /**
   * What actions cost users, by name.
   *
   * @example
   * ```ts
   * for (const { action_type, min_tokens } of await admin.actionCosts()) show(action_type, min_tokens);
   * ```
   */
  actionCosts(options?: PageOptions & { after?: string | undefined }): Promise<ActionCost[]>;
  /**
   * Says what an action costs users at least and at most; null: it costs what was counted.
   *
   * @example
   * ```ts
   * await admin.setActionCost("article_generation", { min_tokens: 500, max_tokens: 500 }, { reason: "a fixed price" });
   * ```
   */
  setActionCost(
    actionType: string,
    cost: ActionCostFields | null,
    options: CatalogueOptions,
  ): Promise<ActionCostSetting>;
  /**
   * Codes that give tokens, newest first.
   *
   * @example
   * ```ts
   * const { codes, next_before } = await admin.codes({ limit: 20 });
   * ```
   */
  codes(options?: PageOptions & { before?: number | undefined }): Promise<CodePage>;
  /**
   * Makes a code. Its answer is the only place that ever shows it.
   *
   * @example
   * ```ts
   * const { code } = await admin.createCode(500, { name: "spring", maxRedemptions: 100 });
   * ```
   */
  createCode(tokens: number, options: CodeOptions): Promise<NewTokenCode>;
  /**
   * Ends a code: nobody redeems it any more, and what it has given stays.
   *
   * @example
   * ```ts
   * await admin.endCode(codeId, { reason: "it is all over the web" });
   * ```
   */
  endCode(codeId: string, options?: Stoppable & { reason?: string | undefined }): Promise<EndedTokenCode>;
  /**
   * When alerts are raised for everyone and for plans; of users, for the admin alone.
   *
   * @example
   * ```ts
   * for (const { rule, kind, is_enabled } of await admin.alertRules()) show(rule, kind, is_enabled);
   * ```
   */
  alertRules(options?: PageOptions): Promise<AlertRule[]>;
  /**
   * Where webhooks are sent, and what each of these is told of.
   *
   * @example
   * ```ts
   * for (const { name, url, is_enabled } of await admin.endpoints()) show(name, url, is_enabled);
   * ```
   */
  endpoints(options?: Stoppable): Promise<WebhookEndpoint[]>;
  /**
   * Makes an endpoint, or sets the one of that name anew.
   *
   * @example
   * ```ts
   * await admin.setEndpoint("crm", "https://crm.example.com/tokens", { kinds: ["token_plan.changed"] });
   * ```
   */
  setEndpoint(name: string, url: string, options?: EndpointOptions): Promise<WebhookEndpoint>;
  /**
   * Takes an endpoint away: nothing is sent there any more.
   *
   * @example
   * ```ts
   * await admin.removeEndpoint("crm");
   * ```
   */
  removeEndpoint(name: string, options?: Stoppable): Promise<WebhookEndpointRemoval>;
  /**
   * Deliveries of webhooks of the last 30 days, newest first.
   *
   * @example
   * ```ts
   * const { deliveries } = await admin.deliveries({ status: "given_up" });
   * ```
   */
  deliveries(
    options?: PageOptions & {
      endpoint?: string | undefined;
      status?: "pending" | "delivered" | "given_up" | undefined;
      before?: number | undefined;
    },
  ): Promise<DeliveryPage>;
  /**
   * Sends one again, whatever became of it, under the webhook-id that it had.
   *
   * @example
   * ```ts
   * await admin.repeatDelivery(deliveryId);
   * ```
   */
  repeatDelivery(deliveryId: number, options?: Stoppable): Promise<RepeatedDelivery>;
  /**
   * Sends again what was given up of an endpoint in the last three days. Gives how many it was; 0: all are.
   *
   * @example
   * ```ts
   * while ((await admin.retryDeliveries("crm")) > 0);
   * ```
   */
  retryDeliveries(endpoint: string, options?: PageOptions): Promise<number>;
}

/**
 * The books of everyone, over the supabase-js client of an admin who is signed in, or of a server with the secret key.
 *
 * @example
 * ```ts
 * const admin = tokenbookAdmin(supabase);
 * const { users, next_after } = await admin.users({ search: "@example.com", sort: "balance" });
 * ```
 */
export function tokenbookAdmin(supabase: SupabaseLike, options: AdminBooksOptions = {}): AdminBooks {
  onlyKnown("tokenbookAdmin", options, { patience: 1, reads: 1 } satisfies Record<
    keyof AdminBooksOptions,
    1
  >);
  const { patience = {}, reads } = options;
  const primary = asking(supabase, undefined, patience);
  const { read, rows } = primary;
  const { call } = asking(supabase, undefined, patience, reads, swept);
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
    payments: async (o = {}) => {
      const { status, userId, order, after, limit } = o;
      const answer = await read<PaymentsForAdmin | Omit<PaymentsForAdmin, "parked">>(
        "payments",
        {
          ...(status === undefined ? {} : { status }),
          ...(userId === undefined ? {} : { userId }),
          ...(order === undefined ? {} : { order }),
          ...(after == null ? {} : { after }),
          ...(limit === undefined ? {} : { limit: String(limit) }),
        },
        o,
      );
      // a user is answered their own payments, which are not what was asked for
      if (!("parked" in answer)) throw new TokenbookError("forbidden");
      return answer;
    },
    parked: (o = {}) =>
      call(
        "list_parked_token_payments",
        {
          p_limit: o.limit,
          p_after_created_at: o.after?.created_at,
          p_after_provider: o.after?.provider,
          p_after_payment_id: o.after?.provider_payment_id,
        },
        o,
      ),
    dismissParked: (provider, providerPaymentId, o) =>
      call(
        "dismiss_parked_token_payment",
        { p_provider: provider, p_provider_payment_id: providerPaymentId, p_reason: o.reason },
        o,
      ),
    assignParked: (provider, providerPaymentId, o) =>
      call(
        "assign_parked_token_payment",
        {
          p_provider: provider,
          p_provider_payment_id: providerPaymentId,
          p_user_id: o.userId,
          p_plan_type: o.planType,
          p_pack_type: o.packType,
          p_quantity: o.quantity,
        },
        o,
      ),
    expiries: (o = {}) => call("list_token_expiries", { p_to: o.to, p_after: o.after, p_until: o.until }, o),
    discrepancies: (o = {}) =>
      call("find_token_discrepancies", { p_threshold: o.threshold, p_after: o.after, p_until: o.until }, o),
    reconcile: (userId, o = {}) => call("reconcile_user_token_balance", { p_user_id: userId }, o),
    replay: (o = {}) =>
      call("replay_token_balances", { p_user_id: o.userId, p_after: o.after, p_until: o.until }, o),
    verify: (o = {}) =>
      (o.userId === undefined ? call : primary.call)(
        "verify_token_ledger",
        { p_user_id: o.userId, p_after: o.after, p_until: o.until },
        o,
      ),
    setPlan: (planType, plan, o) =>
      call("set_token_plan", { p_plan_type: planType, p_plan: plan, p_reason: o.reason }, o),
    setPack: (packType, pack, o) =>
      call("set_token_pack", { p_pack_type: packType, p_pack: pack, p_reason: o.reason }, o),
    modelRates: (o = {}) =>
      rows("token_model_rates", (all) => dated(after(all, "model_pattern", o), "model_pattern", o), o),
    setModelRate: (modelPattern, rate, o) =>
      call(
        "set_token_model_rate",
        {
          p_model_pattern: modelPattern,
          p_rate: rate,
          p_reason: o.reason,
          p_valid_from: o.validFrom,
        },
        o,
      ),
    modelPrices: (o = {}) =>
      rows(
        "token_model_prices",
        (all) => {
          const later = after(all, "model", o);
          const found =
            o.search === undefined
              ? later
              : later.ilike("model", `%${o.search.replaceAll(/[%\\_]/g, "\\$&")}%`);
          return dated(found, "model", o);
        },
        o,
      ),
    setModelPrice: (model, price, o) =>
      call(
        "set_token_model_price",
        {
          p_model: model,
          p_price: price,
          p_reason: o.reason,
          p_valid_from: o.validFrom,
          p_source: undefined,
        },
        o,
      ),
    actionCosts: (o = {}) =>
      rows(
        "token_action_costs",
        (all) =>
          after(all, "action_type", o)
            .order("action_type", { ascending: true })
            .limit(o.limit ?? 200),
        o,
      ),
    setActionCost: (actionType, cost, o) =>
      call("set_token_action_cost", { p_action_type: actionType, p_cost: cost, p_reason: o.reason }, o),
    codes: (o = {}) => call("list_token_codes", { p_limit: o.limit, p_before: o.before }, o),
    createCode: (tokens, o) =>
      call(
        "create_token_code",
        {
          p_tokens: tokens,
          p_name: o.name,
          p_max_redemptions: o.maxRedemptions,
          p_max_per_user: o.maxPerUser,
          p_valid_until: o.validUntil,
          p_valid_from: o.validFrom,
          p_lifetime_days: o.lifetimeDays,
          p_grant_type: o.grantType,
          p_code: o.code,
        },
        o,
      ),
    endCode: (codeId, o = {}) => call("end_token_code", { p_code_id: codeId, p_reason: o.reason }, o),
    alertRules: (o = {}) =>
      rows(
        "token_alert_rules",
        (all) =>
          all
            .order("rule", { ascending: true })
            .order("plan_type", { ascending: true })
            .limit(o.limit ?? 200),
        o,
      ),
    endpoints: (o = {}) => call("list_token_webhook_endpoints", {}, o),
    setEndpoint: (name, url, o = {}) =>
      call(
        "set_token_webhook_endpoint",
        { p_name: name, p_url: url, p_kinds: o.kinds, p_is_enabled: o.isEnabled },
        o,
      ),
    removeEndpoint: (name, o = {}) => call("remove_token_webhook_endpoint", { p_name: name }, o),
    deliveries: (o = {}) =>
      call(
        "list_token_webhook_deliveries",
        { p_endpoint: o.endpoint, p_status: o.status, p_limit: o.limit, p_before: o.before },
        o,
      ),
    repeatDelivery: (deliveryId, o = {}) =>
      call("repeat_token_webhook_delivery", { p_delivery_id: deliveryId }, o),
    retryDeliveries: (endpoint, o = {}) =>
      call("retry_token_webhooks", { p_endpoint: endpoint, p_limit: o.limit }, o),
  });
}

const after = (all: Query, column: string, o: { after?: string | undefined }): Query =>
  o.after === undefined ? all : all.gt(column, o.after);

/** By name, and what holds from later on before what it follows. */
const dated = (all: Query, column: string, o: PageOptions): Query =>
  all
    .order(column, { ascending: true })
    .order("valid_from", { ascending: false })
    .limit(o.limit ?? 200);
