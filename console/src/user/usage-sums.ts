/** The sums of a usage report by day and model. */
import type { UsageBucket } from "tokenbook";

export interface ModelSum {
  model: string;
  uses: number;
  tokens: number;
  /** null: the report does not say. It is told to admins alone. */
  cents: number | null;
}

/** Tokens of each model on a day. */
export type DaySum = { day: string } & Record<string, number | string>;

const nameOf = ({ model }: UsageBucket) => model ?? "Without a model";

/** The models, most tokens first. */
export function byModel(rows: UsageBucket[]): ModelSum[] {
  const sums = new Map<string, ModelSum>();
  for (const row of rows) {
    const model = nameOf(row);
    const sum = sums.get(model) ?? { model, uses: 0, tokens: 0, cents: null };
    sum.uses += row.uses;
    sum.tokens += row.tokens;
    // an unknown cost is left out, and is not 0
    const isKnown = row.cost_cents !== undefined && (row.uses_without_cost ?? 0) < row.uses;
    if (isKnown) sum.cents = (sum.cents ?? 0) + (row.cost_cents ?? 0);
    sums.set(model, sum);
  }
  return [...sums.values()].sort((a, b) => b.tokens - a.tokens || b.uses - a.uses);
}

/** Every day from the first on, those without a use too: an axis of time has no holes. */
export function byDay(rows: UsageBucket[], from: string, days: number): DaySum[] {
  const sums = new Map<string, DaySum>();
  for (let n = 0; n < days; n++) {
    const day = new Date(Date.parse(from) + n * 86_400_000).toISOString().slice(0, 10);
    sums.set(day, { day });
  }
  for (const row of rows) {
    const sum = sums.get(new Date(row.starts_at).toISOString().slice(0, 10));
    if (sum !== undefined) sum[nameOf(row)] = Number(sum[nameOf(row)] ?? 0) + row.tokens;
  }
  return [...sums.values()];
}
