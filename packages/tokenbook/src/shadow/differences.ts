/** Where a counter and the books differ, user by user, and why as far as that is known. */
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { desired } from "./keep-in-step.ts";
import type { Counter } from "./counter.ts";

/** A user whose counter says something else than the books. */
export interface Difference {
  user: string;
  /** In the counter's own unit. */
  counter: string;
  /** In tokens. */
  counter_tokens: number;
  books: number;
  /** What of the counter waits to be booked, in tokens. */
  to_book: number;
  /** What the books have more, once that is booked. */
  difference: number;
  reasons: string[];
}

/** What a comparison found, of one moment. */
export interface Comparison {
  /** Users who have a counter, or books, or both. */
  users: number;
  /** How many of them differ. */
  differing: number;
  /** The largest first, at most {@link mostListed}. */
  differences: Difference[];
}

export const mostListed = 1_000;

interface Row {
  users: string;
  differing: string;
  whose: string | null;
  counter: string;
  counter_tokens: string;
  books: string;
  to_book: string;
  /** What the books did by themselves, in all and by the kind of entry. */
  own: string;
  entries: Record<string, number> | null;
  /** What the triggers did not see, in the counter's unit. */
  missed: string;
  /** What of the counter's value does not make whole tokens. */
  rounded: string;
  error: string | null;
  is_user: boolean;
  has_row: boolean;
  rows: string;
  was_opened: boolean;
  is_followed: boolean;
}

/**
 * Compares everybody. What waits to be booked is no difference: it counts as if it were.
 *
 * @param times how many tokens one of the counter's units is; of a shadow, its own.
 * @param source under which name it was imported.
 * @param isRight whether the books are, and the counter is to be what they say.
 */
export async function findDifferences(
  client: SqlClient,
  counter: Counter,
  source: string,
  times: string,
  isRight: boolean,
): Promise<Comparison> {
  const differs = isRight
    ? `a.has_row and a.amount <> ${desired(counter, "a.books", "a.change", "$1::numeric")}`
    : "a.books + a.to_book <> a.counter_tokens";
  const rows = await select<Row>(
    client,
    `with source as (
       select ${counter.whose} as whose, sum(${counter.value}) as amount, count(*) as rows
         from ${counter.table} t where ${counter.user} is not null group by 1
     ), changes as (
       select lower(c.whose) as whose, min(c.error) as error, bool_or(c.kind = 'catch_up' and c.error is null) as catches_up,
              sum(c.amount_after - c.amount_before) as change,
              sum(c.amount_after - c.amount_before) filter (where c.error is null) as waiting
         from tokenbook.shadow_changes c where c.whose is not null group by 1
     ), kept as (
       select b.user_id::text as whose, b.amount, b.tokens from tokenbook.shadow_balances b where b.source = $2
     ), books as (
       select a.user_id::text as whose, a.tokens_remaining - a.tokens_owed as tokens from public.token_accounts a
     ), everyone as (
       select coalesce(s.whose, k.whose, b.whose) as whose, s.whose is not null as has_row, coalesce(s.rows, 0) as rows,
              coalesce(s.amount, 0) as amount, trunc(coalesce(s.amount, 0) * $1) as counter_tokens, coalesce(b.tokens, 0) as books,
              k.whose is not null as is_kept, coalesce(k.amount, 0) as kept, coalesce(k.tokens, 0) as kept_tokens,
              c.error, coalesce(c.change, 0) as change, coalesce(c.waiting, 0) as waiting, coalesce(c.catches_up, false) as catches_up
         from source s
         full join kept k on k.whose = s.whose
         full join books b on b.whose = coalesce(s.whose, k.whose)
         left join changes c on c.whose = coalesce(s.whose, k.whose, b.whose)
     ), all_of as (
       select e.*,
              -- all rows are gone at once, and that waits: whatever is left of anybody goes with it
              case when exists (select from tokenbook.shadow_changes c where c.kind = 'truncate') then e.counter_tokens - e.books
                   else trunc((e.kept + e.waiting) * $1) - case when e.catches_up then e.kept_tokens else trunc(e.kept * $1) end
              end as to_book
         from everyone e
     ), listed as (
       select a.*, count(*) over () as differing,
              case when a.whose ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then a.whose::uuid end as user_id
         from all_of a
        where ${differs}
        order by abs(a.books + a.to_book - a.counter_tokens) desc, a.whose
        limit ${mostListed}
     )
     select (select count(*) from everyone)::text as users, coalesce(l.differing, 0)::text as differing, l.whose,
            trim_scale(l.amount)::text as counter, l.counter_tokens::text, l.books::text, l.to_book::text,
            (l.books - l.kept_tokens)::text as own, trim_scale(l.amount - l.kept - l.change)::text as missed,
            case when l.catches_up then '0' else (l.kept_tokens - trunc(l.kept * $1))::text end as rounded,
            l.error, l.has_row, l.rows::text, l.is_kept as is_followed,
            exists (select from auth.users u where u.id = l.user_id) as is_user,
            exists (
              select from public.token_transactions t
               where t.user_id = l.user_id and t.id = 1 and t.metadata ->> 'imported_from' = $2) as was_opened,
            o.entries
       from (select) as one
       left join listed l on true
       left join lateral (
         select jsonb_object_agg(e.entry_type, e.tokens) as entries
           from (
             select t.entry_type, sum(t.tokens - t.reserved_change - t.debt_change) as tokens
               from public.token_transactions t
              where t.user_id = l.user_id
                and (t.actor_role = 'system' and t.metadata ->> 'mirrored_from' = $2) is not true
                and (t.id = 1 and t.metadata ->> 'imported_from' = $2) is not true
              group by t.entry_type
             having sum(t.tokens - t.reserved_change - t.debt_change) <> 0) e) o on true
      order by abs(l.books + l.to_book - l.counter_tokens) desc nulls last, l.whose`,
    [times, source],
  );
  const found = rows.filter(({ whose }) => whose !== null);
  return {
    users: Number(rows[0]!.users),
    differing: Number(rows[0]!.differing),
    differences: found.map((row) => ({
      user: row.whose!,
      counter: row.counter,
      counter_tokens: Number(row.counter_tokens),
      books: Number(row.books),
      to_book: Number(row.to_book),
      difference: Number(row.books) + Number(row.to_book) - Number(row.counter_tokens),
      reasons: reasonsOf(row, isRight),
    })),
  };
}

/** What kinds of entries are, where they are not the counter's. */
const kinds: Record<string, string> = {
  grant: "granted",
  deduction: "spent",
  expiry: "expired",
  hold: "held",
  release: "released",
  refund: "refunded",
  clawback: "clawed back",
  void: "voided",
  opening_balance: "opened with, from elsewhere",
};

function reasonsOf(row: Row, isRight: boolean): string[] {
  const reasons: string[] = [];
  if (!row.is_user) reasons.push("not in auth.users");
  if (row.error !== null) reasons.push(`a change could not be booked: ${row.error}`);
  if (isRight) {
    if (Number(row.rows) > 1) reasons.push(`has ${row.rows} rows`);
    if (reasons.length === 0) reasons.push("not written there yet");
    return reasons;
  }
  for (const [kind, tokens] of Object.entries(row.entries ?? {})) {
    const sign = tokens > 0 ? "+" : "";
    reasons.push(`${sign}${tokens.toLocaleString("en-US")} ${kinds[kind] ?? kind} in the books alone`);
  }
  if (row.is_followed && Number(row.missed) !== 0) {
    reasons.push(`${row.missed} written there unseen: npx tokenbook shadow --start catches up`);
  }
  if (row.is_followed && row.has_row && Number(row.rounded) !== 0 && Number(row.own) === 0) {
    reasons.push("the column has no such fractions");
  }
  if (!row.has_row) reasons.push("has no row there");
  else if (row.is_user && !row.was_opened && !row.is_followed) reasons.push("not imported");
  if (reasons.length === 0) reasons.push("the counter changed since the import");
  return reasons;
}
