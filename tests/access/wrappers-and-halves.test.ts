import type { Client } from "pg";
import { expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { connectAsOwner } from "../support/storm.ts";

/** A function that clients can name, and the one of the same name that does the work. */
interface Pair {
  name: string;
  /** What both say of themselves, and who may execute them. */
  wrapper: Record<string, unknown> | null;
  half: Record<string, unknown> | null;
  wrapper_runs_as_owner: boolean;
}

/** Every function of schema public, and every one of tokenbook that anybody but the owner may execute. */
async function pairsOf(client: Client): Promise<Pair[]> {
  const { rows } = await client.query<Pair>(`
    with functions as (
      select p.proname as name, p.pronamespace::regnamespace::text as schema, p.prosecdef as runs_as_owner,
             jsonb_build_object(
               'arguments', pg_get_function_arguments(p.oid),
               'result', pg_get_function_result(p.oid),
               'volatility', p.provolatile,
               'strict', p.proisstrict,
               'comment', obj_description(p.oid, 'pg_proc'),
               'executed by', array(
                 select coalesce(r.rolname, 'public') from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   left join pg_roles r on r.oid = a.grantee
                  where a.grantee <> p.proowner order by 1)) as facts
        from pg_proc p
       where p.pronamespace in ('public'::regnamespace, 'tokenbook'::regnamespace))
    select name, w.facts as wrapper, h.facts as half, coalesce(w.runs_as_owner, false) as wrapper_runs_as_owner
      from (select * from functions where schema = 'public') w
      full join (select * from functions where schema = 'tokenbook') h using (name)
     where w.facts is not null or jsonb_array_length(h.facts -> 'executed by') > 0
     order by name`);
  return rows;
}

/** Computed fields: they say of a row what their caller may read anyway, and need no half of their name. */
const computedFields = ["tokens_used", "token_offer_now", "token_payment_disagrees", "token_payment_email"];

/** What token_subscriptions, token_counters and the policy of token_storage_quotas ask as their caller, of rows that the caller has. */
const askedByViews = [
  "begins_by_itself",
  "plan_after",
  "plan_at",
  "grace_of",
  "kept_beside",
  "is_storage_in_force",
  "newest_slot_at",
  "next_slot_at",
  "moved_by",
  "payment_id_in",
  "period_end",
  "plan_beside",
  "plan_ends_at",
  "plan_precedence",
  "plan_schedule",
  "plans_of",
  "slot_number",
  "slot_start",
  "slot_tokens_due",
  "subscription_at",
];

/** What computed fields ask for their caller, the server alone. */
const askedByFields = ["disagreement_of_payment", "email_of_user"];

/** What the policies and the defaults of p_user_id ask as the caller: who that is. */
const askedOfCallers = ["caller_id", "is_user_id", "user_of_subject"];

const faultsIn = (pairs: Pair[]): string[] =>
  pairs.flatMap(({ name, wrapper, half, wrapper_runs_as_owner }) => {
    if (wrapper === null && [...askedByViews, ...askedByFields, ...askedOfCallers].includes(name)) return [];
    if (wrapper === null)
      return [`tokenbook.${name} is executed by ${String(half!["executed by"])} without a wrapper`];
    if (half === null)
      return computedFields.includes(name) && !wrapper_runs_as_owner
        ? []
        : [`public.${name} has no half in tokenbook`];
    return [
      ...(wrapper_runs_as_owner ? [`public.${name} runs as its owner`] : []),
      ...(String(wrapper["executed by"]) === "" ? [`public.${name} is executed by nobody`] : []),
      ...Object.keys(wrapper)
        .filter((fact) => JSON.stringify(wrapper[fact]) !== JSON.stringify(half[fact]))
        .map((fact) => `${name}: ${fact} differ`),
    ];
  });

test("a wrapper and its half have one signature, comment and set of callers; no other internal function has a caller", async () => {
  const db = await createDatabase();
  const client = await connectAsOwner(db);
  const pairs = await pairsOf(client);
  const faults = faultsIn(pairs);
  console.log(`wrappers=${pairs.length} faults=${faults.length}`);

  const planted: string[] = [];
  for (const sql of [
    "grant execute on function tokenbook.grant_tokens to anon",
    "revoke execute on function public.grant_tokens from authenticated",
    "grant execute on function tokenbook.record_transaction to service_role",
    "grant execute on function tokenbook.refuse to public",
    "comment on function public.grant_tokens is 'Something else.'",
    "alter function tokenbook.get_user_token_balance stable",
    "alter function public.grant_tokens security definer",
    "create function public.token_planted() returns void language sql as ''",
    "drop function public.deduct_tokens_with_fifo; create function public.deduct_tokens_with_fifo(p_user_id uuid) returns jsonb language sql as 'select null::jsonb'",
    "revoke all on function public.grant_tokens, tokenbook.grant_tokens from authenticated, service_role",
  ]) {
    await client.query(`begin; ${sql}`);
    const seen = faultsIn(await pairsOf(client));
    await client.query("rollback");
    expect(seen.length, sql).toBeGreaterThan(0);
    planted.push(...seen);
  }
  await client.end();
  await db.drop();

  expect(faults).toEqual([]);
  expect(pairs.length).toBeGreaterThan(40);
  expect(planted).toEqual(
    expect.arrayContaining([
      "grant_tokens: executed by differ",
      "tokenbook.record_transaction is executed by service_role without a wrapper",
      "public.grant_tokens is executed by nobody",
      "deduct_tokens_with_fifo: arguments differ",
    ]),
  );
});
