import { z } from "zod";
import type { Context } from "../_shared/database.ts";
import { moment, smallIntegerText, uuid } from "../_shared/fields.ts";
import { mayBeAdmin, type Sql } from "../_shared/operation.ts";
import { Refusal } from "../_shared/problem.ts";
import { rowsOf } from "../_shared/sql.ts";

const afterRule = "next_after of the page before, in the same order";

const statuses = ["pending", "approved", "rejected", "refunded"] as const;

/** By `created_at`, payments of one moment by `id`; one is the other reversed. */
const orders = ["newest", "oldest"] as const;

/** Where a page ended: its order, and the moment and the id of its last payment, with spaces between. */
const place = z
  .string()
  .transform((text) => text.split(" "))
  .pipe(z.tuple([z.enum(orders), moment, uuid], afterRule));

/** Which payments. `userId` is of use to admins only. */
export const Query = z
  .strictObject({
    status: z.enum(statuses, `one of ${statuses.join(", ")}`).optional(),
    userId: uuid.optional(),
    order: z.enum(orders, `one of ${orders.join(", ")}`).default("newest"),
    after: place.optional(),
    limit: smallIntegerText.pipe(z.int().min(1, "1 to 200").max(200, "1 to 200")).default(50),
  })
  .refine(({ order, after }) => after === undefined || after[0] === order, {
    path: ["after"],
    error: afterRule,
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
    return await read(context.supabase, query, columns);
  }
  // First, and with the caller's own rights: this refuses a caller who is no longer an admin, before the secret key is used.
  const parked = await sql("list_parked_token_payments", { p_limit: query.limit });
  return { ...(await read(context.supabaseAdmin, query, columnsForAdmins)), parked };
}

async function read(
  client: Context["supabase"],
  { status, userId, order, after, limit }: z.infer<typeof Query>,
  selected: typeof columns | typeof columnsForAdmins,
): Promise<{ payments: object[]; next_after: string | null }> {
  const isOldest = order === "oldest";
  // more columns than the types of supabase-js can read; the answer is passed on as it is
  let rows = client.from("token_payments").select<string, { created_at: string; id: string }>(selected);
  if (status !== undefined) rows = rows.eq("status", status);
  if (userId !== undefined) rows = rows.eq("user_id", userId);
  if (after !== undefined) {
    const [, at, id] = after;
    // said first by itself, so that an index begins there
    rows = isOldest ? rows.gte("created_at", at) : rows.lte("created_at", at);
    const beyond = isOldest ? "gt" : "lt";
    rows = rows.or(`created_at.${beyond}."${at}",and(created_at.eq."${at}",id.${beyond}.${id})`);
  }
  // one more than asked for: whether there is another page
  const found = rowsOf(
    await rows
      .order("created_at", { ascending: isOldest })
      .order("id", { ascending: isOldest })
      .limit(limit + 1),
  );
  const payments = found.slice(0, limit);
  const last = found.length > limit ? payments.at(-1) : undefined;
  return { payments, next_after: last === undefined ? null : `${order} ${last.created_at} ${last.id}` };
}
