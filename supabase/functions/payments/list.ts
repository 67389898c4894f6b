import { z } from "zod";
import type { Context } from "../_shared/database.ts";
import { smallIntegerText, uuid } from "../_shared/fields.ts";
import { mayBeAdmin, type Sql } from "../_shared/operation.ts";
import { Refusal } from "../_shared/problem.ts";
import { rowsOf } from "../_shared/sql.ts";

const statuses = ["pending", "approved", "rejected", "refunded"] as const;

/** Which payments. `userId` is of use to admins only. */
export const Query = z.strictObject({
  status: z.enum(statuses, `one of ${statuses.join(", ")}`).optional(),
  userId: uuid.optional(),
  limit: smallIntegerText.pipe(z.int().min(1, "1 to 200").max(200, "1 to 200")).default(50),
});

const columns =
  "user_id, id, status, provider, provider_payment_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency, terms, tokens, refunded_cents, disputed_cents, tokens_clawed_back, reason, created_at, decided_at, decided_by";

/** What the catalogue says now and which user asked, for the admin who is to approve it; and what else was named than is booked. */
const columnsForAdmins =
  `${columns}, offer_now:token_offer_now, disagrees:token_payment_disagrees, email:token_payment_email` as const;

/** The caller's own payments; everyone's, and the parked ones, for an admin. */
export async function listPayments(
  query: z.infer<typeof Query>,
  sql: Sql,
  context: Context,
): Promise<object> {
  if (!mayBeAdmin(context)) {
    // Row level security would answer with an empty list, as if that user had never paid.
    if (query.userId !== undefined && query.userId !== context.userClaims?.id) {
      throw new Refusal("forbidden");
    }
    return { payments: await read(context.supabase, query, columns) };
  }
  // First, and with the caller's own rights: this refuses a caller who is no longer an admin, before the secret key is used.
  const parked = await sql("list_parked_token_payments", { p_limit: query.limit });
  return { payments: await read(context.supabaseAdmin, query, columnsForAdmins), parked };
}

async function read(
  client: Context["supabase"],
  { status, userId, limit }: z.infer<typeof Query>,
  selected: typeof columns | typeof columnsForAdmins,
): Promise<object[]> {
  let rows = client.from("token_payments").select(selected);
  if (status !== undefined) rows = rows.eq("status", status);
  if (userId !== undefined) rows = rows.eq("user_id", userId);
  return rowsOf<object>(await rows.order("created_at", { ascending: false }).order("id").limit(limit));
}
