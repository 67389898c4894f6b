/**
 * A user's ledger as CSV (RFC 4180, UTF-8, a header row), newest first, as `get_token_history` pages
 * it. Runs in Deno for the balance function and in Node for `npm run export`.
 *
 * Newest first, because pages are read so: each is written and forgotten, whatever the ledger's length,
 * and what is booked meanwhile has a higher number than the first line. Read upwards it is a journal.
 */
import { stringify } from "csv-stringify/sync";

/** A transaction in a page of `get_token_history`, as far as the file has it. */
export interface Transaction {
  /** Number among the user's; 0 and less for what is older than the books. */
  id: number;
  entry_type: string;
  action_type: string;
  /** Signed. */
  tokens: number;
  /** What holds had set aside more, or less, after it. */
  reserved_change: number;
  balance_after: number;
  allocations: readonly { grant_id: string; tokens: number }[];
  reason: string;
  actor_role: string;
  actor_id: string | null;
  idempotency_key: string | null;
  /** A moment as Postgres writes it in JSON, in whatever time zone the session has. */
  created_at: string;
}

/** What `get_token_history` returns. */
export interface HistoryPage {
  /** Newest first. */
  transactions: readonly Transaction[];
  /** Where the next page begins; null on the last one. */
  next_before: number | null;
}

/** The most transactions that `get_token_history` gives in a page. */
export const pageSize = 200;

/** The columns, in order; docs/guides/export.md says what is in them. */
const columns = [
  "number",
  "created_at",
  "entry_type",
  "action_type",
  "tokens",
  "reserved_change",
  "balance_after",
  "reason",
  "actor_role",
  "actor_id",
  "idempotency_key",
  "grants",
];

/**
 * The file, a page at a time: the header with the first page, each piece whole lines. A page that
 * cannot be read ends it with that error, never with lines missing.
 *
 * History from before the books is left out: it was never counted, so that the tokens in the file add
 * up to the balance.
 *
 * @param readPage reads the page before that number; the newest for null
 */
export async function* ledgerCsv(
  readPage: (before: number | null) => Promise<HistoryPage>,
): AsyncGenerator<{ text: string; rows: number }, void, undefined> {
  let before: number | null = null;
  do {
    const page: HistoryPage = await readPage(before);
    const transactions = page.transactions.filter(({ id }) => id > 0);
    yield { text: lines(transactions, before === null), rows: transactions.length };
    before = page.next_before;
  } while (before !== null && before > 1);
}

function lines(transactions: readonly Transaction[], header: boolean): string {
  return stringify(transactions.map(cells), {
    header,
    columns,
    record_delimiter: "windows", // CRLF, as RFC 4180 has it
    quote_record_delimiter: true,
    // A reason that begins with = + - @ would be a formula to a spreadsheet. Numbers stay numbers.
    escape_formulas: true,
  });
}

/** A line. Numbers are numbers here: what is text is looked at for formulas. */
function cells(transaction: Transaction): (string | number | null)[] {
  return [
    transaction.id,
    inUtc(transaction.created_at),
    transaction.entry_type,
    transaction.action_type,
    transaction.tokens,
    transaction.reserved_change,
    transaction.balance_after,
    transaction.reason,
    transaction.actor_role,
    transaction.actor_id,
    transaction.idempotency_key,
    grants(transaction),
  ];
}

/**
 * Which grants gave how much (`5 from …`) or received it (`5 to …`), in the order of the ledger. What a
 * hold had set aside before is paid later: then they give nothing more (`5 held of …`).
 */
function grants({ tokens, reserved_change, allocations }: Transaction): string {
  const direction = Math.sign(tokens - reserved_change);
  return allocations
    .map((part) => {
      const signed = part.tokens * direction;
      const how = signed < 0 ? "from" : signed > 0 ? "to" : "held of";
      return `${Math.abs(part.tokens)} ${how} ${part.grant_id}`;
    })
    .join("; ");
}

/** The same moment in UTC, to the microsecond, which a Date would cut off. */
function inUtc(moment: string): string {
  const [fraction = ""] = /\.\d+/.exec(moment) ?? [];
  return `${new Date(moment).toISOString().slice(0, 19)}${fraction}Z`;
}
