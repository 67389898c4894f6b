/**
 * Random walks of a balance across thresholds, and what a user must have been told of each: written
 * from the rules alone, by looking at the balance at every commit and at nothing between.
 */
import fc from "fast-check";
import pg from "pg";
import type { Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";

const names = ["a", "b", "c"] as const;

interface Threshold {
  kind: "dropped" | "depleted";
  tokens?: number;
  percent?: number;
  recovered: boolean;
}

type Op =
  | { op: "deduct" | "grant" | "perishable" | "hold"; tokens: number }
  | { op: "release" | "expire" | "drain" };

type Step =
  /** One transaction; `end` says how it ends, or that its last half is undone by itself. */
  | { ops: Op[]; end: "commit" | "rollback" | "savepoint" }
  | { rule: (typeof names)[number]; set: Threshold | null };

interface Walk {
  /** Whether there is a plan limit to have a share of. */
  subscribed: boolean;
  steps: Step[];
}

const tokens = (max: number) => fc.integer({ min: 1, max });

const threshold: fc.Arbitrary<Threshold> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("dropped" as const),
      tokens: tokens(90),
      recovered: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("dropped" as const),
      percent: tokens(100),
      recovered: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("depleted" as const), recovered: fc.boolean() }) },
);

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant("deduct" as const), tokens: tokens(40) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("grant" as const), tokens: tokens(80) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("perishable" as const), tokens: tokens(80) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("hold" as const), tokens: tokens(60) }) },
  { weight: 2, arbitrary: fc.constant({ op: "release" as const }) },
  { weight: 1, arbitrary: fc.constant({ op: "expire" as const }) },
  { weight: 2, arbitrary: fc.constant({ op: "drain" as const }) },
);

const setting = fc.record({ rule: fc.constantFrom(...names), set: fc.option(threshold, { freq: 8 }) });

const walk: fc.Arbitrary<Walk> = fc.record({
  subscribed: fc.boolean(),
  steps: fc
    .tuple(
      fc.array(setting, { minLength: 2, maxLength: 4, size: "max" }),
      tokens(150),
      fc.array(
        fc.oneof(
          {
            weight: 10,
            arbitrary: fc.record({
              ops: fc.array(op, { minLength: 1, maxLength: 3 }),
              end: fc.constantFrom(
                "commit" as const,
                "commit" as const,
                "commit" as const,
                "commit" as const,
                "rollback" as const,
                "savepoint" as const,
              ),
            }),
          },
          { weight: 1, arbitrary: setting },
        ),
        { minLength: 6, maxLength: 14, size: "max" },
      ),
    )
    .map(([rules, start, then]): Step[] => [
      ...rules,
      { ops: [{ op: "grant", tokens: start }], end: "commit" },
      ...then,
    ]),
});

/** What was seen after a step. */
interface Seen {
  balance: number;
  planLimit: number;
  last: number;
  alerts: number;
}

/** What must be told: for each rule, on which side the balance was at the last commit. */
class Teller {
  /** `dropped 1`, `recovered 1`, … for each rule. */
  readonly told: Record<string, string[]> = {};
  count = 0;
  private readonly subscribed: boolean;
  private rules = new Map<string, Threshold>();
  private sides = new Map<string, { below: boolean; raised: boolean; epoch: number }>();
  private before: Seen = { balance: 0, planLimit: 0, last: 0, alerts: 0 };

  constructor(subscribed: boolean) {
    this.subscribed = subscribed;
  }

  set(rule: string, to: Threshold | null) {
    if (to === null) this.rules.delete(rule);
    else this.rules.set(rule, to);
  }

  commit(after: Seen) {
    const { before } = this;
    for (const name of names) {
      const rule = this.rules.get(name);
      const side = this.sides.get(name) ?? { below: false, raised: false, epoch: 0 };
      this.sides.set(name, side);
      if (rule === undefined || (rule.percent !== undefined && !this.subscribed)) {
        side.raised = false;
        continue;
      }
      // as it stood, under the rule as it is now: a change of rule tells nothing
      const stood = isBelow(rule, before);
      side.raised &&= side.below && stood;
      side.below = stood;
      const below = isBelow(rule, after);
      if (below && !side.below) {
        side.epoch++;
        side.raised = true;
        this.tell(name, rule.kind, side.epoch);
      } else if (!below && side.below && side.raised && rule.recovered) {
        this.tell(name, "recovered", side.epoch);
      }
      side.below = below;
    }
    this.before = after;
  }

  private tell(rule: string, kind: string, epoch: number) {
    (this.told[rule] ??= []).push(`${kind} ${epoch}`);
    this.count++;
  }
}

function isBelow(rule: Threshold, { balance, planLimit }: Seen): boolean {
  if (rule.kind === "depleted") return balance === 0;
  return rule.tokens !== undefined ? balance < rule.tokens : balance * 100 < planLimit * rule.percent!;
}

/** What came of many walks. */
export interface Walked {
  walks: number;
  mix: Record<string, number>;
  violations: number;
  examples: string[];
}

/** Which walks: the first `count` of a seed, or of these only those from `from` on. */
export interface Walks {
  count: number;
  seed: number;
  from?: number;
  /** Whether the first violation ends it: all that a known-bad variant has to show. */
  stopAtFirst?: boolean;
}

/** Takes walks and compares what was told with what must have been, crossing by crossing. */
export async function takeWalks(
  db: Database,
  { count, seed, from = 0, stopAtFirst }: Walks,
): Promise<Walked> {
  await db.admin.query(helpers);
  const walks = fc.sample(walk, { numRuns: count, seed });
  const result: Walked = { walks: 0, mix: {}, violations: 0, examples: [] };
  let next = from;
  const isOver = () => next >= walks.length || (stopAtFirst === true && result.violations > 0);
  const worker = async () => {
    const client = new pg.Client({ connectionString: db.url("postgres") });
    await client.connect();
    try {
      while (!isOver()) {
        const nth = next++;
        const faults = await take(db, client, walks[nth]!, result.mix);
        result.walks++;
        if (faults.length > 0) {
          result.violations++;
          if (result.examples.length < 3) {
            result.examples.push(
              `walk ${nth} of seed ${seed}: ${faults.join("; ")}\n${JSON.stringify(walks[nth])}`,
            );
          }
        }
      }
    } finally {
      await client.end();
    }
  };
  await Promise.all([worker(), worker()]);
  return result;
}

async function take(
  db: Database,
  client: pg.Client,
  { subscribed, steps }: Walk,
  mix: Record<string, number>,
) {
  const user = await createUser(db);
  // What stands before a `begin` in one message would be part of that transaction.
  const script = steps.map((step) =>
    "ops" in step ? transaction(user, step) : `begin;\n${ruleChange(user, step)};\ncommit`,
  );
  if (subscribed) {
    script.unshift(
      `begin;\ninsert into tokenbook.subscriptions (user_id, plan_type, billing_cycle) values ('${user}', 'free', 'none');\ncommit`,
    );
  }
  const answers = (await client.query(script.join(";\n"))) as unknown as pg.QueryResult[];
  const seen = answers.filter((it) => it.fields?.[0]?.name === "seen").map((it) => it.rows[0].seen as Seen);

  const teller = new Teller(subscribed);
  const faults: string[] = [];
  let last = 0;
  for (const step of steps) {
    if (!("ops" in step)) {
      teller.set(step.rule, step.set);
      count(mix, "rule changes");
      continue;
    }
    const after = seen.shift()!;
    const touched =
      after.last > last || (step.end !== "rollback" && kept(step).some((it) => it.op === "expire"));
    if (touched && after.last > 0) teller.commit(after);
    if (step.end !== "commit") count(mix, "undone");
    last = after.last;
    if (after.alerts !== teller.count) {
      faults.push(`${after.alerts} alerts instead of ${teller.count} at ${JSON.stringify(after)}`);
    }
  }
  const { rows } = await client.query(
    "select rule, json_agg(kind || ' ' || epoch order by id) as told from public.token_alerts where user_id = $1 group by rule",
    [user],
  );
  const told = Object.fromEntries(rows.map((row) => [row.rule as string, row.told as string[]]));
  for (const name of names) {
    const [is, must] = [told[name] ?? [], teller.told[name] ?? []];
    if (is.join() !== must.join()) faults.push(`${name}: ${is.join()} instead of ${must.join()}`);
    for (const alert of must) count(mix, alert.split(" ")[0]!);
  }
  return faults;
}

const count = (mix: Record<string, number>, what: string) => (mix[what] = (mix[what] ?? 0) + 1);

/** The part of a transaction that stays. */
function kept({ ops, end }: Extract<Step, { ops: Op[] }>): Op[] {
  return end === "savepoint" ? ops.slice(0, Math.floor(ops.length / 2)) : ops;
}

function transaction(user: string, step: Extract<Step, { ops: Op[] }>): string {
  const staying = kept(step).length;
  const parts = step.ops.map(
    (it, nth) => (step.end === "savepoint" && nth === staying ? "savepoint half;\n" : "") + sqlOf(user, it),
  );
  const undo = step.end === "savepoint" ? "rollback to half;\n" : "";
  return `begin;\n${parts.join(";\n")};\n${undo}${step.end === "rollback" ? "rollback" : "commit"};\nbegin;\nselect walks.seen('${user}') as seen;\ncommit`;
}

function sqlOf(user: string, it: Op): string {
  switch (it.op) {
    case "deduct":
      return `select public.deduct_tokens_with_fifo('${user}', ${it.tokens})`;
    case "grant":
      return `select public.grant_tokens('${user}', ${it.tokens}, 'purchase')`;
    case "perishable":
      return `select public.grant_tokens('${user}', ${it.tokens}, 'trial', '2090-01-01T00:00:00Z')`;
    case "hold":
      return `select public.reserve_tokens('${user}', ${it.tokens})`;
    case "release":
      return `select walks.release('${user}')`;
    case "drain":
      return `select walks.drain('${user}')`;
    case "expire":
      return `select tokenbook.record_expiries(array['${user}'::uuid], '2091-01-01T00:00:00Z')`;
  }
}

function ruleChange(user: string, { rule, set }: Extract<Step, { rule: string }>): string {
  return set === null
    ? `select public.remove_token_alert_rule('${rule}', p_user_id => '${user}')`
    : `select public.set_token_alert_rule('${rule}', '${set.kind}', ${set.tokens ?? null}, ${set.percent ?? null}, p_user_id => '${user}', p_notify_recovered => ${set.recovered})`;
}

const helpers = `
create schema walks;
create function walks.seen(p_user_id uuid) returns json language sql as $$
  select json_build_object('balance', coalesce(max(a.tokens_remaining), 0), 'planLimit', coalesce(max(s.tokens_limit), 0),
                           'last', coalesce(max(a.last_transaction_id), 0), 'alerts', coalesce(max(a.last_alert_id), 0))
    from (values (p_user_id)) u (id)
    left join public.token_accounts a on a.user_id = u.id
    left join public.token_subscriptions s on s.user_id = u.id
$$;
create function walks.drain(p_user_id uuid) returns void language plpgsql as $$
declare
  v_tokens bigint := (select a.tokens_remaining from public.token_accounts a where a.user_id = p_user_id);
begin
  if v_tokens > 0 then
    perform public.deduct_tokens_with_fifo(p_user_id, v_tokens);
  end if;
end
$$;
create function walks.release(p_user_id uuid) returns void language plpgsql as $$
declare
  v_hold_id uuid := (select h.id from public.token_holds h where h.user_id = p_user_id and h.status = 'open' order by h.created_at limit 1);
begin
  if v_hold_id is not null then
    perform public.release_tokens(p_user_id, v_hold_id);
  end if;
end
$$`;
