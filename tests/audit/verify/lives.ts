/** Users whose books have everything in them that books can have. */
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { grant } from "../../support/books.ts";
import type { Database } from "../../support/database.ts";

/** A user of before the books: they opened with what was left of his grants. */
export async function createUserOfBefore(db: Database): Promise<string> {
  const user = await createUser(db);
  await db.admin.query(
    `with grants as (
       insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, is_open, legacy_transaction_id)
       values ($1, 'annual', 1000, 900, now() - interval '90 days', true, 'old-1'),
              ($1, 'trial', 50, 0, now() - interval '80 days', false, 'old-2')
       returning *
     ), account as (
       insert into public.token_accounts (user_id, tokens_remaining, tokens_used, total_cost, last_transaction_id)
       values ($1, 900, 150, 12.5, 1)
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, metadata, terms)
     select $1, 1, 'opening_balance', 'opening_balance', 900, 900, array[id], array[900], 'the books open', 'system',
            '{"tokens_used": 150, "total_cost": 12.5}',
            (select jsonb_build_object('grants', jsonb_agg(tokenbook.grant_terms(row(g.*)::public.token_balances))) from grants g)
       from grants where tokens_remaining > 0`,
    [user],
  );
  return user;
}

/**
 * A bit of everything: grants, use by the user and by the server, a correction, an expiry, payments
 * that were refunded or disputed, debt and its repayment.
 *
 * @param n tells the lives apart
 */
export async function live(db: Database, user: string, admin: string, n: number): Promise<void> {
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const asHimself = (name: string, args: Record<string, unknown>) =>
    asUser(db, user, (client) => rpc(client, name, { p_user_id: user, ...args }));
  const pay = (facts: Record<string, unknown>) =>
    asServer("record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: `${facts["kind"]}-${user}`,
      p_event_type: facts["kind"],
      p_provider_payment_id: `pi-${user}`,
      p_facts: facts,
    });

  await grant(db, user, 500 + n, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 1_000 * (n + 1), { key: "pack" });
  await grant(db, user, 300, { type: "28day", key: "monthly" });
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 700 + n, p_idempotency_key: "mine-1" });
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 20, p_idempotency_key: "mine-2" });
  await asAdmin(db, admin, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user, p_delta: -7, p_reason: "correction" }),
  );
  await asAdmin(db, admin, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 70, p_reason: "goodwill" }),
  );
  await asHimself("track_token_usage", {
    p_action_type: "chat_conversation",
    p_model_used: "small",
    p_input_tokens: 40,
    p_output_tokens: 30 + n,
  });
  await asHimself("track_token_usage", {
    p_action_type: "image_generation",
    p_tokens_used: 60,
    p_success: false,
    p_error_message: "refused",
  });
  const hold = async (tokens: number) =>
    (
      await asHimself("reserve_tokens", {
        p_tokens: tokens,
        p_ttl_seconds: 3_600,
        p_action_type: "vision_generation",
      })
    ).hold_id as string;
  await asHimself("capture_tokens", { p_hold_id: await hold(40), p_tokens: 25 + n });
  await asHimself("capture_tokens", {
    p_hold_id: await hold(30),
    p_tokens: 45,
    p_model_used: "small",
    p_input_tokens: 45,
    p_output_tokens: 0,
  });
  await asHimself("release_tokens", { p_hold_id: await hold(35) });
  await hold(15); // runs out
  const charge = await asHimself("track_token_usage", {
    p_action_type: "assessment_scoring",
    p_tokens_used: 33,
  });
  await asServer("refund_tokens", {
    p_user_id: user,
    p_transaction_id: charge.transaction_id,
    p_tokens: 11,
    p_reason: "too slow",
  });
  await asServer("void_token_grant", {
    p_user_id: user,
    p_grant_id: await grant(db, user, 25, { type: "admin" }),
    p_reason: "by mistake",
  });
  await pay({ kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900 });
  await letTimePass(db, user, 1);
  await asHimself("get_user_token_balance", {});
  await asHimself("deduct_tokens_with_fifo", { p_tokens_to_deduct: 300 });
  if (n % 3 === 0) {
    await asServer("track_token_usage", {
      p_user_id: user,
      p_action_type: "audio_generation",
      p_tokens_used: 10_000_000,
      p_on_shortage: "partial",
    });
    await pay({ kind: "refunded", refunded_cents: 900 });
    await grant(db, user, 5_000, { type: "admin" });
  } else if (n % 3 === 1) {
    await pay({ kind: "disputed" });
    await pay({ kind: "dispute_won" });
  }
  await grant(db, user, 80);
  if (n % 2 === 0) await hold(60);
}
