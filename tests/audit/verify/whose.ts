/** The users whose books a row is part of: a finding about the row may name these and no others. */
import type pg from "pg";
import type { Breach } from "./books-to-corrupt.ts";

/** Of a provider's payment, all of whom it and what is paid for with it were booked to: one that is cut off is missed by the others. */
const ofPayment = (provider: string, id: string, wholes: string[]) =>
  `select f.user_id::text
     from tokenbook.provider_payments f
    where f.provider = ${provider} and coalesce(f.part_of, f.provider_payment_id) in (
      select coalesce(n.part_of, n.provider_payment_id) from tokenbook.provider_payments n
       where n.provider = ${provider} and n.provider_payment_id = ${id}
      ${wholes.map((whole) => `union select ${whole}`).join(" ")})`;

/** The users of a row, as SQL over `x`: an array of ids, empty for a row of no user. */
export function ownersOf(table: string): string {
  const ids: Record<string, string> = {
    "tokenbook.provider_events": `array(${ofPayment("x.provider", "x.provider_payment_id", [])})`,
    "tokenbook.provider_payments": `x.user_id::text || array(${ofPayment("x.provider", "x.provider_payment_id", ["x.part_of"])})`,
    token_team_members: "array[x.user_id::text, x.member_id::text]",
  };
  return `array_remove(${ids[table] ?? "array[x.user_id::text]"}, null)`;
}

/**
 * What was found and is said of somebody else than whose books a row is part of: of a team, its payer and its members
 * too. Of nobody is said what is the project's, and what was told of a payment that is nobody's yet.
 */
export async function saidOfOthers(
  client: pg.ClientBase,
  table: string,
  owners: string[],
  found: Breach[],
): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select m.user_id as id from public.token_team_members m where m.member_id::text = any ($1)
     union select m.member_id from public.token_team_members m where m.user_id::text = any ($1)
     union select a.payer_id from public.token_accounts a where a.user_id::text = any ($1) and a.payer_id is not null
     union select a.user_id from public.token_accounts a where a.payer_id::text = any ($1)`,
    [owners],
  );
  const parties = new Set([...rows.map(({ id }) => id), ...owners]);
  return found
    .filter(({ user_id }) =>
      user_id === null ? !table.startsWith("tokenbook.provider_") : !parties.has(user_id),
    )
    .map(({ invariant }) => invariant);
}
