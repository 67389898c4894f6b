import {
  type HeldStream,
  type Hold,
  type HoldClient,
  type HoldOptions,
  type HoldReceipt,
  type Patience,
  type StreamEnd,
  streamWithTokenHold,
  type Usage,
  withTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { onlyKnown } from "../../../../supabase/functions/_shared/known-options.ts";
import { TokenbookError } from "../../../../supabase/functions/_shared/token-error.ts";
import type {
  AccountState,
  AccountStateChange,
  Adjustment,
  Alert,
  AlertRule,
  AlertRuleRemoval,
  Answers,
  Batch,
  ChargeExplanation,
  CheckoutPage,
  Deduction,
  GrantExpiry,
  GrantReceipt,
  HistoryPage,
  NoAdjustment,
  NoReservation,
  OpenHold,
  Overdraft,
  Pack,
  PastTokenBalance,
  Payment,
  PaymentApproval,
  PaymentRefund,
  PaymentRejection,
  PaymentRequest,
  Plan,
  PlanChange,
  Quote,
  Redemption,
  ReferralClaim,
  ReferralCode,
  Refund,
  Reservation,
  SettledHold,
  Shortage,
  SpendCaps,
  SpendCapSetting,
  StorageQuota,
  Subscription,
  TeamMember,
  TeamPage,
  TokenBalance,
  TokenTransaction,
  TopUp,
  TopUpSetting,
  TrackedUsage,
  TrialCheck,
  UntrackedUsage,
  UpcomingGrants,
  RevenueReport,
  UsageReport,
  VoidedGrant,
} from "./answers.ts";
import { asking, noting, type SupabaseLike } from "./asking.ts";
import type {
  AdjustOptions,
  AlertRuleOptions,
  AlertsOptions,
  BatchItem,
  CallOptions,
  CanSpendOptions,
  CaptureOptions,
  CapOptions,
  ChangePlanOptions,
  CheckoutOptions,
  DeductOptions,
  ExplainOptions,
  GrantOptions,
  HistoryOptions,
  ListOptions,
  MemberCaps,
  MembersOptions,
  Moment,
  PaymentRefundOptions,
  PaymentRequestOptions,
  PortalOptions,
  QuoteOptions,
  RefundOptions,
  ReserveOptions,
  Scope,
  TopUpOptions,
  TrackOptions,
  RevenueOptions,
  UsageByOptions,
  VoidOptions,
  WriteOptions,
} from "./options.ts";

/** How a client is to be. */
export interface TokenbookOptions {
  /** Whom its calls are about when they do not say it. A server that handles one user's request says it once. */
  userId?: string | undefined;
  /** How often and how patiently the books are asked. */
  patience?: Patience | undefined;
  /**
   * A client of a read replica, or of the load balancer in front of it, with the same keys and the same user: it is
   * asked for what is shown (balance, history, grants, reports), by GET. What it cannot answer yet, what decides
   * something, and everything that writes, is asked of the first client.
   */
  reads?: SupabaseLike | undefined;
}

/** The entries of a user's ledger, newest first; pages are read as they are needed. */
export interface TokenHistory extends AsyncIterable<TokenTransaction> {
  /**
   * One page, for an interface that shows pages.
   *
   * @example
   * ```ts
   * const { transactions, next_before } = await books.history({ limit: 20 }).page();
   * ```
   */
  page(): Promise<HistoryPage>;
}

/** {@link HoldOptions} of a client, which knows the user. */
export type ClientHoldOptions = Omit<HoldOptions, "userId"> & { userId?: string | undefined };

/**
 * The books, as an app asks them. Options are in camelCase; answers are as the database gives them, in snake_case.
 *
 * Every call rejects with a {@link TokenbookError} when it is refused, or when nobody has answered as often as it was
 * asked; a shortage of tokens is no error but an answer, with `success` false. Which `code`s there are, docs/reference.md
 * says function by function. An option that there is not is a TypeError, and nothing is asked.
 */
export interface Tokenbook {
  /**
   * What a user can spend now, grant by grant.
   *
   * @example
   * ```ts
   * const { total_active, next_expiry, grants } = await books.balance();
   * ```
   */
  balance(options?: CallOptions): Promise<TokenBalance>;
  /**
   * What they could spend at a moment that has passed. Before the books opened it is refused with `no_history_before`.
   *
   * @example
   * ```ts
   * const { total_active } = await books.balanceAt(endOfMonth);
   * ```
   */
  balanceAt(at: Moment, options?: CallOptions): Promise<PastTokenBalance>;
  /**
   * Whether so many tokens could be spent now: by `deduct`, or by `track` where a model is named, which `deduct` cannot.
   * Nothing is changed, and nothing is promised.
   *
   * @example
   * ```ts
   * if (await books.canSpend(500, { actionType: "article_generation" })) show("Write an article");
   * ```
   */
  canSpend(tokens?: number, options?: CanSpendOptions): Promise<boolean>;
  /**
   * Whether that plan is in force.
   *
   * @example
   * ```ts
   * const isProfessional = await books.hasPlan("professional");
   * ```
   */
  hasPlan(planType: string, options?: CallOptions): Promise<boolean>;
  /**
   * The quota in gigabytes that came with their plans.
   *
   * @example
   * ```ts
   * const { total_quota_gb } = await books.storageQuota();
   * ```
   */
  storageQuota(options?: CallOptions): Promise<StorageQuota>;

  /**
   * Spends tokens, oldest grants first, all or nothing.
   *
   * @example
   * ```ts
   * const spent = await books.deduct(50, { actionType: "chat_conversation" });
   * if (!spent.success) show(`${spent.tokens_remaining_to_deduct} tokens are missing`);
   * ```
   */
  deduct(tokens: number, options?: DeductOptions): Promise<Deduction | Shortage>;
  /**
   * Many deductions in one call, for the server: each by itself, or with `allOrNothing` all or none.
   *
   * @example
   * ```ts
   * const { deducted, short, results } = await books.deductBatch([
   *   { userId, tokens: 5, idempotencyKey: "night-1" },
   *   { userId, tokens: 8, idempotencyKey: "night-2" },
   * ]);
   * ```
   */
  deductBatch(
    items: readonly BatchItem[],
    options?: { allOrNothing?: boolean | undefined; signal?: AbortSignal | undefined },
  ): Promise<Batch>;
  /**
   * Records one AI operation and deducts for it in one step.
   *
   * @example
   * ```ts
   * const used = await books.track({ actionType: "chat_conversation", tokens: 12, onShortage: "partial" });
   * if (used.success) show(used.tokens_deducted, used.tokens_remaining_to_deduct);
   * ```
   */
  track(usage: TrackOptions): Promise<TrackedUsage | UntrackedUsage>;
  /**
   * What an operation would deduct and cost. Nothing is changed.
   *
   * @example
   * ```ts
   * const { tokens, sufficient, tokens_short } = await books.quote({ actionType: "article_generation", tokens: 500 });
   * if (!sufficient) show(`${tokens} are needed, ${tokens_short} are missing`);
   * ```
   */
  quote(usage: QuoteOptions): Promise<Quote>;
  /**
   * Sets tokens aside for a call that is about to run. {@link Tokenbook.withTokenHold} does all of it.
   *
   * @example
   * ```ts
   * const held = await books.reserve(2_000, { actionType: "chat_conversation", ttlSeconds: 120 });
   * if (!held.success) show(`${held.tokens_remaining_to_deduct} tokens are missing`);
   * ```
   */
  reserve(tokens: number, options?: ReserveOptions): Promise<Reservation | NoReservation>;
  /**
   * Pays for what was used out of a hold, and gives the rest back.
   *
   * @example
   * ```ts
   * const paid = await books.capture(holdId, { tokens: 640 });
   * if (paid.success) show(paid.tokens_captured, paid.tokens_released);
   * ```
   */
  capture(holdId: string, options?: CaptureOptions): Promise<SettledHold | OpenHold>;
  /**
   * Gives back everything that a hold set aside.
   *
   * @example
   * ```ts
   * const { tokens_released } = await books.release(holdId);
   * ```
   */
  release(holdId: string, options?: CallOptions): Promise<SettledHold>;
  /**
   * Makes a call that is paid for by a hold: tokens are set aside, `work` runs, what it reports is paid. A call that
   * fails costs nothing.
   *
   * @throws {TokensShortError} {@link CallAlreadyMadeError} before the work; what the work threw; {@link NotSettledError}
   * @example
   * ```ts
   * const { value, receipt } = await books.withTokenHold(
   *   { tokens: 2_000, actionType: "chat_conversation" },
   *   async (hold) => {
   *     const answer = await askTheModel("When does the tide come in?", hold.signal);
   *     hold.report({ inputTokens: answer.input, outputTokens: answer.output });
   *     return answer.text;
   *   },
   * );
   * ```
   */
  withTokenHold<Value>(
    options: ClientHoldOptions,
    work: (hold: Hold) => Promise<Value>,
  ): Promise<{ value: Value; receipt: HoldReceipt }>;
  /**
   * {@link Tokenbook.withTokenHold} for a call whose answer is a stream; it is settled before the stream closes.
   *
   * @example
   * ```ts
   * const { stream, ended } = await books.streamWithTokenHold(
   *   { tokens: 2_000, actionType: "chat_conversation" },
   *   (hold) => streamTheModel("When does the tide come in?", hold),
   * );
   * show(await new Response(stream.pipeThrough(new TextEncoderStream())).text());
   * const { outcome, receipt } = await ended;
   * ```
   */
  streamWithTokenHold<Chunk>(
    options: ClientHoldOptions,
    open: (hold: Hold) => Promise<ReadableStream<Chunk>>,
    lastChunk?: (end: StreamEnd) => Chunk | undefined,
  ): Promise<HeldStream<Chunk>>;

  /**
   * Gives tokens as one new grant, now or from a moment to come. What the user owed is repaid first, at once:
   * `tokens_remaining` is what is left then, and the history's entries after the grant say what was repaid. For an admin
   * or the server.
   *
   * @example
   * ```ts
   * const { grant_id, tokens_remaining } = await books.grant(10_000, {
   *   userId,
   *   grantType: "trial",
   *   expiresAt: "2099-01-01",
   *   reason: "won the summer draw",
   *   idempotencyKey: "draw-2099",
   * });
   * ```
   */
  grant(tokens: number, options?: GrantOptions): Promise<GrantReceipt>;
  /**
   * Corrects a balance, upwards or downwards, all or nothing. For an admin or the server.
   *
   * @example
   * ```ts
   * const corrected = await books.adjust(-50, { userId, reason: "counted twice on Monday" });
   * ```
   */
  adjust(delta: number, options?: AdjustOptions): Promise<Adjustment | NoAdjustment>;
  /**
   * Undoes a deduction, or part of it, back to the grants that paid. For an admin or the server.
   *
   * @example
   * ```ts
   * const { restored, forfeited } = await books.refund(transactionId, { userId, reason: "the answer was empty" });
   * ```
   */
  refund(transactionId: number, options?: RefundOptions): Promise<Refund>;
  /**
   * The grants that a user is still to be given, the next first.
   *
   * @example
   * ```ts
   * const { grants } = await books.upcomingGrants();
   * for (const { tokens_granted, starts_at } of grants) show(tokens_granted, starts_at);
   * ```
   */
  upcomingGrants(options?: CallOptions): Promise<UpcomingGrants>;
  /**
   * Ends a grant now, or calls one off that is to come. For an admin or the server.
   *
   * @example
   * ```ts
   * const { tokens_voided } = await books.voidGrant(grantId, { userId, reason: "given by mistake" });
   * ```
   */
  voidGrant(grantId: string, options?: VoidOptions): Promise<VoidedGrant>;
  /**
   * Says anew when a grant runs out; `infinity`: never. For an admin or the server.
   *
   * @example
   * ```ts
   * await books.setGrantExpiry(grantId, "infinity", { userId, reason: "a promise of support" });
   * ```
   */
  setGrantExpiry(
    grantId: string,
    expiresAt: Moment,
    options: WriteOptions & { reason: string },
  ): Promise<GrantExpiry>;
  /**
   * Freezes an account, or makes it active again. For an admin or the server.
   *
   * @example
   * ```ts
   * await books.setAccountState("frozen", { userId, reason: "a stolen card" });
   * ```
   */
  setAccountState(
    state: AccountState,
    options: CallOptions & { reason: string },
  ): Promise<AccountStateChange>;
  /**
   * Says how many tokens a user may owe by using more than they have; null: what their plan allows. For an admin or
   * the server.
   *
   * @example
   * ```ts
   * const { limit_in_force } = await books.setOverdraft(5_000, { userId, reason: "pays by invoice" });
   * ```
   */
  setOverdraft(tokens: number | null, options: CallOptions & { reason: string }): Promise<Overdraft>;

  /**
   * The ledger, newest first.
   *
   * @example
   * ```ts
   * for await (const entry of books.history()) show(entry.created_at, entry.action_type, entry.tokens);
   * const { transactions, next_before } = await books.history({ limit: 20 }).page();
   * ```
   */
  history(options?: HistoryOptions): TokenHistory;
  /**
   * Why something was charged, which grants paid, and what of it was undone.
   *
   * @example
   * ```ts
   * const { paid_by, tokens_net } = await books.explain({ transactionId });
   * for (const grant of paid_by) show(grant.grant_type, grant.tokens, tokens_net);
   * ```
   */
  explain(charge: ExplainOptions): Promise<ChargeExplanation>;
  /**
   * What was used, by time and by model, action or member of the team.
   *
   * @example
   * ```ts
   * const { rows } = await books.usageBy({ bucket: "day", by: "model" });
   * for (const { starts_at, model, tokens } of rows) show(starts_at, model, tokens);
   * ```
   */
  usageBy(options?: UsageByOptions): Promise<UsageReport>;
  /**
   * What was sold, what of it was used, ended unused or went back, and what is still owed, in cents of each currency. For an
   * admin or the server.
   *
   * @example
   * ```ts
   * const { totals } = await books.revenue({ bucket: "month", from: "2026-01-01" });
   * for (const { currency, recognised_cents } of totals) show(currency, recognised_cents);
   * ```
   */
  revenue(options?: RevenueOptions): Promise<RevenueReport>;

  readonly plans: {
    /**
     * The catalogue, lowest rank first. Nobody needs to be signed in.
     *
     * @example
     * ```ts
     * const offered = (await books.plans.list()).filter((plan) => plan.is_offered);
     * ```
     */
    list(options?: { signal?: AbortSignal | undefined }): Promise<Plan[]>;
    /**
     * The plan that a user is on, or was; null: never one.
     *
     * @example
     * ```ts
     * const subscription = await books.plans.current();
     * if (subscription?.is_active) show(subscription.plan_type, subscription.expires_at);
     * ```
     */
    current(options?: CallOptions): Promise<Subscription | null>;
    /**
     * Changes a user's plan: up at once, down at the end of the period. For an admin or the server.
     *
     * @example
     * ```ts
     * const { effective, effective_at } = await books.plans.change("professional", { userId, paymentMethod: "card" });
     * ```
     */
    change(planType: string, options?: ChangePlanOptions): Promise<PlanChange>;
    /**
     * Whether they may have a trial, all of it or a part, and if not, why.
     *
     * @example
     * ```ts
     * const { trial, reason } = await books.plans.checkTrial();
     * if (trial === "none") show(reason);
     * ```
     */
    checkTrial(options?: CallOptions): Promise<TrialCheck>;
  };
  readonly packs: {
    /**
     * What can be bought once, cheapest first. Nobody needs to be signed in.
     *
     * @example
     * ```ts
     * for (const { name, tokens, price_cents, currency } of await books.packs.list()) show(name, tokens, price_cents, currency);
     * ```
     */
    list(options?: { signal?: AbortSignal | undefined }): Promise<Pack[]>;
  };

  /**
   * A page to pay at, by the edge function `checkout`.
   *
   * @example
   * ```ts
   * const { url } = await books.checkout({ packType: "small", successUrl: thanks, cancelUrl: location.href });
   * location.assign(url);
   * ```
   */
  checkout(options: CheckoutOptions): Promise<CheckoutPage>;
  /**
   * The provider's page to change a card, see invoices, end a subscription.
   *
   * @example
   * ```ts
   * const { url } = await books.portal({ returnUrl: location.href });
   * location.assign(url);
   * ```
   */
  portal(options: PortalOptions): Promise<CheckoutPage>;
  readonly payments: {
    /**
     * Asks for a plan or packs: a payment that waits for an admin.
     *
     * @example
     * ```ts
     * const { payment_id, amount_cents } = await books.payments.request({ packType: "small", quantity: 2 });
     * ```
     */
    request(options: PaymentRequestOptions): Promise<PaymentRequest>;
    /**
     * A user's payments, newest first: those that wait, that were decided, and that went back.
     *
     * @example
     * ```ts
     * const [newest] = await books.payments.list({ limit: 1 });
     * ```
     */
    list(options?: ListOptions): Promise<Payment[]>;
    /**
     * Gives what a payment that waits is for, in the same step. For an admin or the server.
     *
     * @example
     * ```ts
     * const { tokens_granted } = await books.payments.approve(paymentId, { userId, reason: "the transfer has come" });
     * ```
     */
    approve(paymentId: string, options?: CallOptions & { reason?: string }): Promise<PaymentApproval>;
    /**
     * Refuses a payment that waits; nothing was given for it. For an admin or the server.
     *
     * @example
     * ```ts
     * await books.payments.reject(paymentId, { userId, reason: "no transfer in 30 days" });
     * ```
     */
    reject(paymentId: string, options: CallOptions & { reason: string }): Promise<PaymentRejection>;
    /**
     * Books that money of a manual payment went back, and takes its tokens back. For an admin or the server.
     *
     * @example
     * ```ts
     * const { tokens_clawed_back } = await books.payments.refund(paymentId, { userId, reason: "asked for it back" });
     * ```
     */
    refund(paymentId: string, options: PaymentRefundOptions): Promise<PaymentRefund>;
  };

  readonly caps: {
    /**
     * What a user may spend in a day, a week, a month: the caps that they are under now, tightest first.
     *
     * @example
     * ```ts
     * const { caps } = await books.caps.list();
     * for (const { window, used, limit } of caps) show(`${used} of ${limit} this ${window}`);
     * ```
     */
    list(options?: CallOptions): Promise<SpendCaps>;
    /**
     * Sets a cap for a user, a plan or everyone, or takes it away with null. For an admin or the server.
     *
     * @example
     * ```ts
     * await books.caps.set("day", { userId, tokens: 20_000, reason: "a trial account" });
     * ```
     */
    set(window: "day" | "week" | "month", options: CapOptions): Promise<SpendCapSetting>;
  };
  /** Of a payer, who is the user: the members spend from their account. */
  readonly team: {
    /**
     * The members who spend from the user's account or did, with what they used and their caps; present members first.
     *
     * @example
     * ```ts
     * const { members } = await books.team.members();
     * for (const { member_id, tokens_used } of members) show(member_id, tokens_used);
     * ```
     */
    members(options?: MembersOptions): Promise<TeamPage>;
    /**
     * Lets a user spend from the payer's account; of one who does already, sets the caps. For an admin or the server.
     *
     * @example
     * ```ts
     * await books.team.add(memberId, { userId, capMonth: 100_000 });
     * ```
     */
    add(memberId: string, options?: MemberCaps): Promise<TeamMember>;
    /**
     * Ends that a member spends from the payer's account; what they used stays listed. For an admin or the server.
     *
     * @example
     * ```ts
     * const { tokens_used } = await books.team.remove(memberId, { userId });
     * ```
     */
    remove(memberId: string, options?: CallOptions): Promise<TeamMember>;
  };
  readonly alerts: {
    /**
     * What a user was told, newest first.
     *
     * @example
     * ```ts
     * for (const { kind, created_at } of await books.alerts.list({ limit: 10 })) show(kind, created_at);
     * ```
     */
    list(options?: AlertsOptions): Promise<Alert[]>;
    /**
     * Makes a rule of that name, or changes it, for a user, a plan or everyone. For an admin or the server.
     *
     * @example
     * ```ts
     * await books.alerts.setRule("low", { forEveryone: true, kind: "dropped", thresholdPercent: 20 });
     * ```
     */
    setRule(rule: string, options: AlertRuleOptions): Promise<AlertRule>;
    /**
     * Takes away the rule of that name and scope; what it told stays. For an admin or the server.
     *
     * @example
     * ```ts
     * const { removed } = await books.alerts.removeRule("low", { forEveryone: true });
     * ```
     */
    removeRule(
      rule: string,
      options: Scope & { signal?: AbortSignal | undefined },
    ): Promise<AlertRuleRemoval>;
  };
  readonly topUp: {
    /**
     * The user's automatic top-up; null: never set.
     *
     * @example
     * ```ts
     * const topUp = await books.topUp.get();
     * if (topUp?.paused_at) show("The last charge failed");
     * ```
     */
    get(options?: CallOptions): Promise<TopUp | null>;
    /**
     * Sets a user's automatic top-up, and sets it going again after a failed charge.
     *
     * @example
     * ```ts
     * await books.topUp.set({ belowTokens: 1_000, packType: "small" });
     * ```
     */
    set(options: TopUpOptions): Promise<TopUpSetting>;
  };
  readonly codes: {
    /**
     * Gives the tokens of a code. One that there is not, or that is over or used up, is refused with
     * `code_not_redeemable`; after ten of these in an hour everything is, with `too_many_attempts`.
     *
     * @example
     * ```ts
     * const { tokens_granted } = await books.codes.redeem(code);
     * ```
     */
    redeem(code: string, options?: WriteOptions): Promise<Redemption>;
    /**
     * The user's own code to refer others with, and what a referral gives.
     *
     * @example
     * ```ts
     * const { code, rewards } = await books.codes.referral();
     * ```
     */
    referral(options?: CallOptions): Promise<ReferralCode>;
    /**
     * Says by whom a user was referred, before their first payment.
     *
     * @example
     * ```ts
     * const { referred_tokens } = await books.codes.claimReferral(code);
     * ```
     */
    claimReferral(code: string, options?: CallOptions): Promise<ReferralClaim>;
  };
}

/** How often a report is asked for whose books are behind, with the usual patience each: some millions of uses. */
const reportRounds = 25;

/**
 * The books, over a supabase-js client: of the signed-in user, or of a server, with the secret key.
 *
 * @example
 * ```ts
 * const books = tokenbook(supabase);
 * const { total_active } = await books.balance();
 * ```
 */
export function tokenbook(supabase: SupabaseLike, options: TokenbookOptions = {}): Tokenbook {
  onlyKnown("tokenbook", options, { userId: 1, patience: 1, reads: 1 } satisfies Record<
    keyof TokenbookOptions,
    1
  >);
  const { userId: bound, patience = {}, reads } = options;
  const { call, rows, invoke, userOf } = asking(supabase, bound, patience, reads);
  const client = supabase as HoldClient;
  /** A report of which more is to be added up than one call does: each has added a portion when it says `busy`. */
  const report = async <Name extends "get_token_usage_by" | "get_token_revenue">(
    ...asked: Parameters<typeof call<Name>>
  ): Promise<Answers[Name]> => {
    for (let round = 1; ; round++) {
      try {
        return await call<Name>(...asked);
      } catch (error) {
        const isBehind = error instanceof TokenbookError && error.code === "busy";
        if (!isBehind || round === reportRounds) throw error;
      }
    }
  };

  /** The user that a read is about; left out, the books take the caller. */
  const orSelf = ({ userId = bound }: CallOptions) => userId;

  const userOfReport = ({ forEveryone, userId = bound }: UsageByOptions) =>
    forEveryone ? undefined : userId;

  const holding = async ({ userId, ...rest }: ClientHoldOptions): Promise<HoldOptions> => ({
    ...rest,
    patience: { ...patience, ...rest.patience },
    userId: await userOf({ userId, signal: rest.signal }),
  });

  const page = (o: HistoryOptions, before = o.before) =>
    call("get_token_history", { p_user_id: orSelf(o), p_limit: o.limit, p_before: before ?? undefined }, o);

  return noting<Tokenbook>({
    balance: (o = {}) => call("get_user_token_balance", { p_user_id: orSelf(o) }, o),
    balanceAt: (at, o = {}) => call("get_token_balance_as_of", { p_user_id: orSelf(o), p_at: at }, o),
    canSpend: (tokens, o = {}) =>
      call(
        "can_spend_tokens",
        { p_tokens: tokens, p_user_id: orSelf(o), p_action_type: o.actionType, p_model_used: o.model },
        o,
      ),
    hasPlan: (planType, o = {}) => call("has_token_plan", { p_plan_type: planType, p_user_id: orSelf(o) }, o),
    storageQuota: (o = {}) => call("get_user_storage_quota", { p_user_id: orSelf(o) }, o),

    deduct: async (tokens, o = {}) =>
      call(
        "deduct_tokens_with_fifo",
        {
          p_user_id: await userOf(o),
          p_tokens_to_deduct: tokens,
          p_action_type: o.actionType,
          p_idempotency_key: keyOf(o),
          p_metadata: o.metadata,
        },
        o,
      ),
    deductBatch: async (items, o = {}) =>
      call(
        "deduct_tokens_batch",
        {
          p_items: items.map(itemOf),
          p_all_or_nothing: o.allOrNothing,
        },
        o,
      ),
    track: (o) =>
      call(
        "track_token_usage",
        {
          p_user_id: orSelf(o),
          p_action_type: o.actionType,
          ...countsOf(o),
          p_tokens_used: o.tokens,
          p_success: o.success,
          p_error_message: o.errorMessage,
          p_on_shortage: o.onShortage,
          p_idempotency_key: keyOf(o),
          p_metadata: o.metadata,
        },
        o,
      ),
    quote: (o) =>
      call(
        "estimate_tokens",
        {
          p_user_id: orSelf(o),
          p_action_type: o.actionType,
          ...countsOf(o),
          p_tokens_used: o.tokens,
        },
        o,
      ),
    reserve: async (tokens, o = {}) =>
      call(
        "reserve_tokens",
        {
          p_user_id: await userOf(o),
          p_tokens: tokens,
          p_ttl_seconds: o.ttlSeconds,
          p_action_type: o.actionType,
          p_model_used: o.model,
          p_idempotency_key: keyOf(o),
          p_metadata: o.metadata,
          p_parent_hold: o.parentHold,
        },
        o,
      ),
    capture: async (holdId, o = {}) =>
      call(
        "capture_tokens",
        {
          p_user_id: await userOf(o),
          p_hold_id: holdId,
          p_tokens: o.tokens,
          p_over_capture: o.overCapture,
          ...countsOf(o),
          p_success: o.success,
          p_error_message: o.errorMessage,
          p_metadata: o.metadata,
        },
        o,
      ),
    release: async (holdId, o = {}) =>
      call("release_tokens", { p_user_id: await userOf(o), p_hold_id: holdId }, o),
    withTokenHold: async (o, work) => withTokenHold(client, await holding(o), work),
    streamWithTokenHold: async (o, open, lastChunk) =>
      streamWithTokenHold(client, await holding(o), open, lastChunk),

    grant: async (tokens, o = {}) =>
      call(
        "grant_tokens",
        {
          p_user_id: await userOf(o),
          p_tokens: tokens,
          p_grant_type: o.grantType,
          p_expires_at: o.expiresAt,
          p_pays_for: o.paysFor,
          p_priority: o.priority,
          p_granted_at: o.grantedAt,
          p_reason: o.reason,
          p_idempotency_key: keyOf(o),
          p_metadata: o.metadata,
          p_starts_at: o.startsAt,
          p_cost_basis_cents: o.costBasisCents,
          p_currency: o.currency,
        },
        o,
      ),
    adjust: async (delta, o = {}) =>
      call(
        "adjust_tokens",
        {
          p_user_id: await userOf(o),
          p_delta: delta,
          p_reason: o.reason,
          p_idempotency_key: keyOf(o),
          p_metadata: o.metadata,
        },
        o,
      ),
    refund: async (transactionId, o = {}) =>
      call(
        "refund_tokens",
        {
          p_user_id: await userOf(o),
          p_transaction_id: transactionId,
          p_tokens: o.tokens,
          p_reason: o.reason,
          p_expired_policy: o.expiredPolicy,
          p_idempotency_key: keyOf(o),
          p_lifetime_days: o.lifetimeDays,
        },
        o,
      ),
    voidGrant: async (grantId, o = {}) =>
      call(
        "void_token_grant",
        {
          p_user_id: await userOf(o),
          p_grant_id: grantId,
          p_reason: o.reason,
          p_take_back: o.takeBack,
          p_idempotency_key: keyOf(o),
        },
        o,
      ),
    upcomingGrants: (o = {}) => call("list_upcoming_token_grants", { p_user_id: orSelf(o) }, o),
    setGrantExpiry: async (grantId, expiresAt, o) =>
      call(
        "set_token_grant_expiry",
        {
          p_user_id: await userOf(o),
          p_grant_id: grantId,
          p_expires_at: expiresAt,
          p_reason: o.reason,
          p_idempotency_key: keyOf(o),
        },
        o,
      ),
    setAccountState: async (state, o) =>
      call("set_token_account_state", { p_user_id: await userOf(o), p_state: state, p_reason: o.reason }, o),
    setOverdraft: async (tokens, o) =>
      call("set_token_overdraft", { p_user_id: await userOf(o), p_tokens: tokens, p_reason: o.reason }, o),

    history: (o = {}) => ({
      page: () => page(o),
      async *[Symbol.asyncIterator]() {
        for (let before = o.before; ;) {
          const { transactions, next_before } = await page(o, before);
          yield* transactions;
          if (next_before === null) return;
          before = next_before;
        }
      },
    }),
    explain: (o) =>
      call(
        "explain_token_charge",
        { p_user_id: orSelf(o), p_usage_id: o.usageId, p_transaction_id: o.transactionId },
        o,
      ),
    usageBy: (o = {}) =>
      report(
        "get_token_usage_by",
        {
          p_bucket: o.bucket,
          p_by: o.by,
          p_from: o.from,
          p_to: o.to,
          p_user_id: userOfReport(o),
          p_for_everyone: o.forEveryone,
          p_cents_per_million_tokens: o.centsPerMillionTokens,
        },
        o,
      ),

    revenue: (o = {}) => report("get_token_revenue", { p_from: o.from, p_to: o.to, p_bucket: o.bucket }, o),

    plans: {
      list: (o = {}) => rows("token_plans", (all) => all.order("rank", { ascending: true }), o),
      current: async (o = {}) => {
        const userId = await userOf(o);
        return (await rows("token_subscriptions", (all) => all.eq("user_id", userId), o))[0] ?? null;
      },
      change: async (planType, o = {}) =>
        call(
          "change_token_plan",
          {
            p_user_id: await userOf(o),
            p_plan_type: planType,
            p_payment_method: o.paymentMethod,
            p_payment_id: o.paymentId,
            p_idempotency_key: keyOf(o),
          },
          o,
        ),
      checkTrial: async (o = {}) => call("check_token_trial", { p_user_id: await userOf(o) }, o),
    },
    packs: {
      list: (o = {}) => rows("token_packs", (all) => all.order("price_cents", { ascending: true }), o),
    },

    checkout: (o) =>
      invoke(
        "checkout",
        {
          action: "buy",
          planType: o.planType,
          packType: o.packType,
          quantity: o.quantity,
          successUrl: o.successUrl,
          cancelUrl: o.cancelUrl,
          saveCard: o.saveCard,
          userId: o.userId ?? bound,
          idempotencyKey: keyOf(o),
        },
        o,
      ),
    portal: (o) =>
      invoke("checkout", { action: "portal", returnUrl: o.returnUrl, userId: o.userId ?? bound }, o),
    payments: {
      request: async (o) =>
        call(
          "create_token_payment",
          {
            p_user_id: await userOf(o),
            p_to_plan: o.planType,
            p_pack_type: o.packType,
            p_quantity: o.quantity,
            p_idempotency_key: keyOf(o),
          },
          o,
        ),
      list: async (o = {}) => {
        const userId = await userOf(o);
        const newest = { ascending: false };
        return rows(
          "token_payments",
          (all) =>
            all
              .eq("user_id", userId)
              .order("created_at", newest)
              .limit(o.limit ?? 50),
          o,
        );
      },
      approve: async (paymentId, o = {}) =>
        call(
          "approve_token_payment",
          { p_user_id: await userOf(o), p_payment_id: paymentId, p_reason: o.reason },
          o,
        ),
      reject: async (paymentId, o) =>
        call(
          "reject_token_payment",
          { p_user_id: await userOf(o), p_payment_id: paymentId, p_reason: o.reason },
          o,
        ),
      refund: async (paymentId, o) =>
        call(
          "refund_token_payment",
          {
            p_user_id: await userOf(o),
            p_payment_id: paymentId,
            p_reason: o.reason,
            p_refunded_cents: o.refundedCents,
          },
          o,
        ),
    },

    caps: {
      list: (o = {}) => call("get_token_spend_caps", { p_user_id: orSelf(o) }, o),
      set: (window, o) =>
        call(
          "set_token_spend_cap",
          { p_window: window, p_tokens: o.tokens, p_reason: o.reason, ...scopeOf(o) },
          o,
        ),
    },
    team: {
      members: (o = {}) =>
        call("list_token_team_members", { p_user_id: orSelf(o), p_limit: o.limit, p_after: o.after }, o),
      add: async (memberId, o = {}) =>
        call(
          "add_token_team_member",
          {
            p_user_id: await userOf(o),
            p_member_id: memberId,
            p_cap_day: o.capDay,
            p_cap_week: o.capWeek,
            p_cap_month: o.capMonth,
          },
          o,
        ),
      remove: async (memberId, o = {}) =>
        call("remove_token_team_member", { p_user_id: await userOf(o), p_member_id: memberId }, o),
    },
    alerts: {
      list: async (o = {}) => {
        const userId = await userOf(o);
        return rows(
          "token_alerts",
          (all) => {
            const own = all
              .eq("user_id", userId)
              .order("id", { ascending: false })
              .limit(o.limit ?? 50);
            return o.before === undefined ? own : own.lt("id", o.before);
          },
          o,
        );
      },
      setRule: (rule, o) =>
        call(
          "set_token_alert_rule",
          {
            p_rule: rule,
            p_kind: o.kind,
            p_threshold_tokens: o.thresholdTokens,
            p_threshold_percent: o.thresholdPercent,
            p_hours: o.hours,
            p_notify_recovered: o.notifyRecovered,
            p_is_enabled: o.isEnabled,
            ...scopeOf(o),
          },
          o,
        ),
      removeRule: (rule, o) => call("remove_token_alert_rule", { p_rule: rule, ...scopeOf(o) }, o),
    },
    topUp: {
      get: async (o = {}) => {
        const userId = await userOf(o);
        return (await rows("token_top_ups", (all) => all.eq("user_id", userId), o))[0] ?? null;
      },
      set: async (o) =>
        call(
          "set_token_top_up",
          {
            p_user_id: await userOf(o),
            p_is_enabled: o.isEnabled,
            p_below_tokens: o.belowTokens,
            p_tokens: o.tokens,
            p_plan_type: o.planType,
            p_pack_type: o.packType,
            p_quantity: o.quantity,
            p_cooldown_seconds: o.cooldownSeconds,
            p_max_requests: o.maxRequests,
            p_window_seconds: o.windowSeconds,
          },
          o,
        ),
    },
    codes: {
      redeem: (code, o = {}) =>
        call("redeem_token_code", { p_code: code, p_user_id: orSelf(o), p_idempotency_key: keyOf(o) }, o),
      referral: (o = {}) => call("get_token_referral_code", { p_user_id: orSelf(o) }, o),
      claimReferral: (code, o = {}) =>
        call("claim_token_referral", { p_referral_code: code, p_user_id: orSelf(o) }, o),
    },
  });
}

/** One key an intent: made before it is first asked, and the same however often it is. */
const keyOf = ({ idempotencyKey }: Pick<WriteOptions, "idempotencyKey">): string =>
  idempotencyKey ??
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");

/** One deduction of a batch, as the function takes it. */
function itemOf(item: BatchItem) {
  onlyKnown("an item of deductBatch", item, batchFields);
  return {
    user_id: item.userId,
    tokens: item.tokens,
    action_type: item.actionType,
    idempotency_key: keyOf(item),
    metadata: item.metadata,
  };
}

const batchFields = {
  userId: 1,
  tokens: 1,
  actionType: 1,
  idempotencyKey: 1,
  metadata: 1,
} satisfies Record<keyof BatchItem, 1>;

/** What a provider counted, as functions take it. */
const countsOf = (usage: Usage) => ({
  p_model_used: usage.model,
  p_input_tokens: usage.inputTokens,
  p_output_tokens: usage.outputTokens,
  p_cached_tokens: usage.cachedTokens,
  p_reasoning_tokens: usage.reasoningTokens,
  p_images: usage.images,
  p_seconds: usage.seconds,
});

const scopeOf = ({ userId, planType, forEveryone }: Scope) => ({
  p_user_id: userId,
  p_plan_type: planType,
  p_for_everyone: forEveryone,
});
