import type { Tokenbook } from "../client/index.ts";

/** What the calls of a client are called, those of its parts too. */
type Names<Part> = {
  [Name in keyof Part]: Part[Name] extends (...args: never) => unknown ? Name : Names<Part[Name]>;
}[keyof Part];

/** The calls that change nothing. One that is missing here is taken to change something, which costs a read. */
const reads: ReadonlySet<string> = new Set<Names<Tokenbook>>([
  "balance",
  "balanceAt",
  "canSpend",
  "checkTrial",
  "checkout",
  "current",
  "explain",
  "get",
  "hasPlan",
  "history",
  "list",
  "members",
  "portal",
  "quote",
  "referral",
  "revenue",
  "storageQuota",
  "upcomingGrants",
  "usageBy",
]);

/** The same client, which says when a call that may have changed something is over, however it ended. */
export function announcing(books: Tokenbook, changed: () => void): Tokenbook {
  return wrapped(books, changed) as Tokenbook;
}

function wrapped(part: object, changed: () => void): object {
  const entries = Object.entries(part).map(([name, it]: [string, unknown]) => {
    if (typeof it === "object" && it !== null) return [name, wrapped(it, changed)];
    if (typeof it !== "function" || reads.has(name)) return [name, it];
    const call = it as (...args: unknown[]) => Promise<unknown>;
    return [
      name,
      async (...args: unknown[]) => {
        try {
          const answer = await call(...args);
          // a stream is paid for when it has ended
          if (isStream(answer)) void answer.ended.then(changed);
          return answer;
        } finally {
          changed();
        }
      },
    ];
  });
  return Object.fromEntries(entries) as object;
}

function isStream(answer: unknown): answer is { ended: Promise<unknown> } {
  return typeof answer === "object" && answer !== null && "ended" in answer;
}
