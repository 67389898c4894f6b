/** A ledger as people read it: one line a call. */
import type { TokenTransaction } from "tokenbook";

/** The kind of a line, as the page filters by it. */
export type Kind = "spent" | "added" | "held" | "lost" | "other";

/** Entries that belong together: those of one hold, or one alone. */
export interface Line {
  /** Stays the same while more entries come. */
  key: string;
  /** Newest first; of a budget its own, and not those of its calls. */
  entries: TokenTransaction[];
  /** Of a hold that is the budget of a task: the calls that were paid from it, newest first. */
  calls: Line[];
  /** Of a budget: what it was made with; null: it is none, or that is not known yet. */
  budget: number | null;
  /** What was done: `chat_conversation`; of what was given back by itself `refund of chat_conversation`. */
  actionType: string;
  kind: Kind;
  /** Signed: what it did to the tokens that there are. */
  tokens: number;
  /** Still set aside. What a call of a budget has of it is not told, and is 0. */
  held: number;
  /** Of a call of a budget: it has tokens of it, and nothing has come of them yet. */
  isRunning: boolean;
  /** Owed since: an overdraft; negative, owed no longer. */
  owed: number;
  /** What could be spent after the newest of them; null: not known. */
  balanceAfter: number | null;
  at: string;
}

/**
 * Folds entries, newest first, into lines. A line stands where its newest entry does, so the balances beside the lines
 * are in their order. What of a call is on a page that was not fetched yet joins its line when it comes; and a call joins
 * the line of its budget when the entry comes that says whose part it is.
 */
export function fold(entries: readonly TokenTransaction[]): Line[] {
  const budgetOf = new Map<string, string>();
  for (const { hold_id, parent_hold_id } of entries) {
    if (hold_id !== null && parent_hold_id !== null) budgetOf.set(hold_id, parent_hold_id);
  }
  const groups = groupsOf(entries, ({ id, hold_id }) =>
    hold_id === null ? `entry-${id}` : `hold-${budgetOf.get(hold_id) ?? hold_id}`,
  );
  return Array.from(groups, ([key, group]) => lineOf(key, group, budgetOf));
}

function groupsOf(entries: readonly TokenTransaction[], keyOf: (entry: TokenTransaction) => string) {
  const groups = new Map<string, TokenTransaction[]>();
  for (const entry of entries) {
    const key = keyOf(entry);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return groups;
}

function lineOf(key: string, all: TokenTransaction[], budgetOf: ReadonlyMap<string, string>): Line {
  const isCalls = ({ hold_id }: TokenTransaction) => hold_id !== null && budgetOf.has(hold_id);
  const [calls, entries] = [all.filter(isCalls), all.filter((entry) => !isCalls(entry))];
  const newest = all[0]!;
  const held = Math.max(0, sum(all.map((entry) => entry.reserved_change)));
  const beginning = entries.find(({ entry_type }) => entry_type === "hold");
  return {
    key,
    entries,
    calls: Array.from(
      groupsOf(calls, ({ hold_id }) => `hold-${hold_id}`),
      ([its, group]) => callOf(its, group),
    ),
    budget: calls.length > 0 ? (beginning?.reserved_change ?? null) : null,
    actionType: actionOf(all),
    kind: kindOf(all, held),
    tokens: sum(all.map((entry) => entry.tokens)),
    held,
    isRunning: false,
    owed: sum(all.map((entry) => entry.debt_change)),
    balanceAfter: newest.balance_after,
    at: newest.created_at,
  };
}

/** A call that was paid from a budget. */
function callOf(key: string, entries: TokenTransaction[]): Line {
  const isRunning = entries.every(({ action_type }) => action_type === "hold_split");
  const line = lineOf(key, entries, new Map());
  return { ...line, isRunning, kind: isRunning ? "held" : line.kind };
}

/** What the hold was for; a release has a word of its own, and so has what moves tokens between a hold and its budget. */
function actionOf(entries: TokenTransaction[]): string {
  const saying =
    entries.find(({ entry_type }) => entry_type === "hold") ??
    entries.find(({ entry_type }) => entry_type === "deduction") ??
    entries[0]!;
  if (saying.action_type === "hold_split" || saying.action_type === "hold_return") {
    const split = entries.find(({ action_type }) => action_type === "hold_split");
    return split?.reason ?? saying.action_type;
  }
  // a hold that says no action is not a deduction until it is captured
  if (saying.entry_type === "hold" && saying.action_type === "deduction") {
    return entries.some(({ entry_type }) => entry_type === "deduction") ? "deduction" : "hold";
  }
  return saying.entry_type === "refund" ? `refund of ${saying.action_type}` : saying.action_type;
}

function kindOf(entries: TokenTransaction[], held: number): Kind {
  if (held > 0) return "held";
  if (entries.some(({ entry_type }) => entry_type === "deduction")) return "spent";
  const { entry_type, action_type, tokens } = entries[0]!;
  if (tokens > 0) return "added";
  if (tokens < 0) return "lost";
  return entry_type === "usage" && action_type !== "hold_return" ? "spent" : "other";
}

const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
