/** Which receivers were told of a payment that waits for an admin, and what they were told. */
import type { Database } from "../support/database.ts";

/** The alerts of the project's about a provider's payment, in their order. */
export async function alertsOf(db: Database, payment: string) {
  const { rows } = await db.admin.query<{ kind: string; payload: Record<string, unknown> }>(
    `select kind, payload from public.token_alerts
      where rule = 'payment_parked' and payload ->> 'provider_payment_id' = $1 order by id`,
    [payment],
  );
  return rows;
}

/** How they are listed for admins. */
export async function listed(db: Database, payment: string) {
  const { rows } = await db.admin.query<Record<string, unknown>>(
    `select f.parked_reason, tokenbook.explain_parking(f) as explanation, f.parked_details, f.amount_cents::int, f.user_id
       from tokenbook.provider_payments f
      where f.provider_payment_id = $1 and f.parked_reason is not null`,
    [payment],
  );
  return rows;
}
