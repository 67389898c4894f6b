/** A ledger as people read it: one line a call. */
import type { TokenTransaction } from "tokenbook";

/** What a line is to somebody who looks for something. */
export type Kind = "spent" | "added" | "held" | "lost" | "other";

/** Entries that belong together: those of one hold, or one alone. */
export interface Line {
  /** Stays the same while more entries come. */
  key: string;
  /** Newest first. */
  entries: TokenTransaction[];
  /** What was done: `chat_conversation`; of what was given back by itself `refund of chat_conversation`. */
  actionType: string;
  kind: Kind;
  /** Signed: what it did to the tokens that there are. */
  tokens: number;
  /** Still set aside. */
  held: number;
  /** Owed since: an overdraft; negative, owed no longer. */
  owed: number;
  /** What could be spent after the newest of them; null: not known. */
  balanceAfter: number | null;
  at: string;
}

/**
 * Folds entries, newest first, into lines. A line stands where its newest entry does, so the balances beside the lines
 * are in their order. What of a call is on a page that was not fetched yet joins its line when it comes.
 */
export function fold(entries: readonly TokenTransaction[]): Line[] {
  const groups = new Map<string, TokenTransaction[]>();
  for (const entry of entries) {
    const key = entry.hold_id === null ? `entry-${entry.id}` : `hold-${entry.hold_id}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return Array.from(groups, ([key, group]) => lineOf(key, group));
}

function lineOf(key: string, entries: TokenTransaction[]): Line {
  const newest = entries[0]!;
  // what the hold was for; a release has a word of its own
  const saying = entries.find(({ entry_type }) => entry_type === "hold") ?? newest;
  const held = Math.max(0, sum(entries.map((entry) => entry.reserved_change)));
  return {
    key,
    entries,
    actionType: saying.entry_type === "refund" ? `refund of ${saying.action_type}` : saying.action_type,
    kind: kindOf(entries, held),
    tokens: sum(entries.map((entry) => entry.tokens)),
    held,
    owed: sum(entries.map((entry) => entry.debt_change)),
    balanceAfter: newest.balance_after,
    at: newest.created_at,
  };
}

function kindOf(entries: TokenTransaction[], held: number): Kind {
  if (held > 0) return "held";
  if (entries.some(({ entry_type }) => entry_type === "deduction")) return "spent";
  const { entry_type, tokens } = entries[0]!;
  if (tokens > 0) return "added";
  if (tokens < 0) return "lost";
  return entry_type === "usage" ? "spent" : "other";
}

const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
