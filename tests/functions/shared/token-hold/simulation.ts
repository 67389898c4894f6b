/**
 * Streams that are paid for by holds, with everything that can go wrong with them: what each of them is
 * to do, what it did, and what the books say of it afterwards.
 */
import type * as TokenHold from "../../../../supabase/functions/_shared/token-hold.ts";
import { grant } from "../../../support/books.ts";
import type { Database } from "../../../support/database.ts";
import { createUser } from "../../../support/roles.ts";
import { type Fault, openBooks } from "./books-client.ts";

/** The helper, or a known-bad variant of it. */
export type Helper = typeof TokenHold;

export interface Simulation {
  streams: number;
  seed: number;
  /** How many streams run at the same time. Default 48. */
  atOnce?: number;
  /**
   * Ends it when one was found: all that a known-bad variant has to show. Looked for after every fifty
   * streams, without waiting for the holds of those that crashed to run out.
   */
  until?: "leaks" | "violations";
}

export interface Findings {
  /** Holds that were open when their streams had ended, and open ones when all that could run out had. */
  leaks: number;
  /** What else is not as it must be, in words; the first hundred. */
  violations: string[];
  /** How the streams ended, for the code that waited for them. */
  mix: Record<string, number>;
  /** What went wrong with questions to the books. */
  faults: Record<string, number>;
  /** Questions that were put to the books. */
  questions: number;
  /** Tokens that were charged, and used without being paid. */
  tokens: { charged: number; uncovered: number };
  /** Charges for holds that had ended before. */
  late: number;
}

/** One stream: what is to become of it, then what did. */
interface Plan {
  id: string;
  userId: string;
  key: string | undefined;
  asStream: boolean;
  tokens: number;
  /** What each chunk adds to the output. */
  chunks: number[];
  inputTokens: number;
  /** The chunk at which it happens. */
  at: number;
  fate: "runs" | "throws" | "is cancelled" | "is aborted" | "stalls" | "crashes" | "is released";
  /** Only what crashes may run out: everything else has to be settled by itself. */
  ttlSeconds: number;
  /** Of a crash: before or after the books have done what they were asked. */
  crashAfter: boolean;
  rng: () => number;
}

interface Deed {
  plan: Plan;
  outcome: string;
  /** Whether its work was begun. */
  ran: boolean;
  /** What was last reported. */
  reported: number | undefined;
}

const richTokens = 10_000_000;
const poorTokens = 3_000;

/** Runs the streams and looks at the books. The database is to have nothing else in it. */
export async function simulate(db: Database, helper: Helper, simulation: Simulation): Promise<Findings> {
  const { streams, seed, atOnce = 48, until } = simulation;
  const users: string[] = [];
  for (let n = 0; n < 40; n++) {
    const id = await createUser(db);
    await grant(db, id, n < 5 ? poorTokens : richTokens);
    users.push(id);
  }

  const books = await openBooks(db);
  const findings: Findings = {
    leaks: 0,
    violations: [],
    mix: {},
    faults: {},
    questions: 0,
    tokens: {
      charged: 0,
      uncovered: 0,
    },
    late: 0,
  };
  /** What was seen while they ran, beside what the books say of it afterwards. */
  const seen: string[] = [];
  const violation = (text: string) => void seen.push(text);
  const deeds: Deed[] = [];
  /** Keys under which a call is running, or was paid for. */
  const running = new Set<string>();
  const paid = new Set<string>();

  async function run(plan: Plan): Promise<Deed> {
    const { rng, key } = plan;
    const deed: Deed = { plan, outcome: "", ran: false, reported: undefined };
    let faultsLeft = 3; // more in a row, and it is an outage: that is what a crash is here
    let isDead = false;
    let asked = 0;
    const crashAt = 1 + Math.floor(rng() * 3);
    const client = books.unreliable((name) => {
      findings.questions++;
      asked++;
      if (isDead) return "dead";
      if (plan.fate === "crashes" && asked === crashAt) {
        isDead = true;
        return plan.crashAfter ? "dies after" : "dead";
      }
      const [p, q] = [rng(), rng()];
      if (p > 0.1 || faultsLeft === 0 || name.startsWith("get_")) return undefined;
      faultsLeft--;
      const fault: Fault = q < 0.45 ? "lost" : q < 0.9 ? "answer lost" : q < 0.97 ? "busy" : "hangs";
      findings.faults[fault] = (findings.faults[fault] ?? 0) + 1;
      return fault;
    });

    const gone = new AbortController();
    const options: TokenHold.HoldOptions = {
      userId: plan.userId,
      tokens: plan.tokens,
      actionType: "chat_conversation",
      ttlSeconds: plan.ttlSeconds,
      ...(plan.fate === "stalls" && { timeoutMs: 100 }),
      graceMs: 200,
      idempotencyKey: key,
      signal: gone.signal,
      metadata: { stream: key === undefined ? plan.id : key },
      patience: { pauseMs: 2, attemptMs: 1_000 },
    };

    const begin = (hold: TokenHold.Hold) => {
      deed.ran = true;
      if (key === undefined) return;
      if (running.has(key)) violation(`two calls under ${key} at the same time`);
      if (paid.has(key)) violation(`a call under ${key}, which was paid for`);
      running.add(key);
      hold.signal.addEventListener("abort", () => running.delete(key));
    };
    /** Makes one chunk, or what happens instead of it. */
    const produce = async (hold: TokenHold.Hold, nth: number): Promise<number | undefined> => {
      await pause(rng);
      hold.signal.throwIfAborted();
      if (nth === plan.at) await happen(hold);
      hold.signal.throwIfAborted();
      if (nth === plan.chunks.length) return undefined;
      const outputTokens = plan.chunks.slice(0, nth + 1).reduce((sum, it) => sum + it, 0);
      hold.report({ model: "simulated", inputTokens: plan.inputTokens, outputTokens });
      deed.reported = plan.inputTokens + outputTokens;
      return nth;
    };
    const happen = async (hold: TokenHold.Hold) => {
      if (plan.fate === "throws") throw new Error("the provider broke off");
      if (plan.fate === "crashes" && crashAt === 3) {
        isDead = true;
        throw new Error("crashed");
      }
      if (plan.fate === "is aborted") gone.abort(new DOMException("the client has gone", "AbortError"));
      if (plan.fate === "stalls") await new Promise((over) => hold.signal.addEventListener("abort", over));
      if (plan.fate === "is released") {
        await books.rpc("release_tokens", { p_user_id: plan.userId, p_hold_id: hold.holdId });
      }
    };

    try {
      if (plan.asStream) {
        const { stream, ended } = await helper.streamWithTokenHold(client, options, (hold) => {
          begin(hold);
          let nth = 0;
          return Promise.resolve(
            new ReadableStream<number>({
              async pull(controller) {
                const chunk = await produce(hold, nth++);
                if (chunk === undefined) controller.close();
                else controller.enqueue(chunk);
              },
            }),
          );
        });
        const reader = stream.getReader();
        for (let read = 0; ; read++) {
          if (plan.fate === "is cancelled" && read === plan.at) {
            await reader.cancel("seen enough");
            break;
          }
          if ((await reader.read().catch(() => ({ done: true }))).done) break;
        }
        const end = await ended;
        deed.outcome = end.notSettled === undefined ? end.outcome : "not settled";
      } else {
        await helper.withTokenHold(client, options, async (hold) => {
          begin(hold);
          for (let nth = 0; (await produce(hold, nth)) !== undefined; nth++);
        });
        deed.outcome = "completed";
      }
    } catch (error) {
      deed.outcome = outcomeOf(helper, error, gone.signal);
    }
    if (key !== undefined && deed.ran) {
      running.delete(key);
      const charged = { completed: true, aborted: true, timed_out: true }[deed.outcome] ?? false;
      if (charged && deed.reported !== undefined) paid.add(key);
    }
    return deed;
  }

  const runAll = async (from: number, to: number) => {
    let next = from;
    const lane = async () => {
      for (let n = next++; n < to; n = next++) {
        const plan = planOf(n, seed, users);
        deeds.push(await run(plan));
        if (plan.key === undefined) continue;
        // the client sends it again: at once, and when it is over
        deeds.push(...(await Promise.all([run(again(plan, "a")), run(again(plan, "b"))])));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
  };

  const piece = until === undefined ? streams : 50;
  for (let from = 0; from < streams; from += piece) {
    await runAll(from, Math.min(from + piece, streams));
    // before anything can run out by itself, and after everything that could
    findings.leaks = await openHolds(db, "and expires_at > created_at + interval '1 minute'");
    if (until === undefined) {
      await db.admin.query(
        `select pg_sleep(greatest(0, extract(epoch from max(expires_at) - clock_timestamp())) + 0.01)
           from public.token_holds where status = 'open' and expires_at <= created_at + interval '1 minute'`,
      );
      await db.admin.query("set role service_role; select public.expire_old_token_grants(10000); reset role");
      findings.leaks += await openHolds(db, "and expires_at <= clock_timestamp()");
    }
    const { violations, ...charged } = await compareWithTheBooks(db, deeds);
    Object.assign(findings, charged);
    findings.violations = [...seen, ...violations].slice(0, 100);
    if (until === "leaks" && findings.leaks > 0) break;
    if (until === "violations" && findings.violations.length > 0) break;
  }
  for (const { outcome } of deeds) findings.mix[outcome] = (findings.mix[outcome] ?? 0) + 1;

  await books.close();
  return findings;
}

async function openHolds(db: Database, where: string): Promise<number> {
  const { rows } = await db.admin.query(
    `select count(*)::int as n from public.token_holds where status = 'open' ${where}`,
  );
  return rows[0].n as number;
}

/** What is due for the streams beside what the books took for them, and whether the books are right. */
async function compareWithTheBooks(
  db: Database,
  deeds: readonly Deed[],
): Promise<Pick<Findings, "violations" | "tokens" | "late">> {
  const findings = { violations: [] as string[], tokens: { charged: 0, uncovered: 0 }, late: 0 };
  const violation = (text: string) => void findings.violations.push(text);
  const charges = await chargesOf(db);
  for (const deed of deeds) if (deed.plan.key === undefined) compare(deed, charges, violation);
  for (const key of new Set(deeds.flatMap(({ plan }) => plan.key ?? []))) {
    const runs = deeds.filter(({ plan }) => plan.key === key);
    const charge = charges.get(key);
    const due = runs.map(dueOf).filter((it) => it !== "nothing or everything");
    const sum = due.reduce((total, it) => total + it, 0);
    const isSure = due.length === runs.length;
    if (isSure && (charge?.tokens ?? 0) !== sum) violation(`${key}: charged ${charge?.tokens}, due ${sum}`);
  }
  for (const charge of charges.values()) {
    findings.tokens.charged += charge.tokens - charge.uncovered;
    findings.tokens.uncovered += charge.uncovered;
    findings.late += charge.late;
  }
  const { rows: totals } = await db.admin.query(
    `select (select sum(tokens_granted) from public.token_balances)::float8 as granted,
            (select sum(tokens_remaining) from public.token_accounts)::float8 as remaining,
            (select sum(tokens_reserved) from public.token_accounts)::float8 as reserved`,
  );
  const { granted, remaining, reserved } = totals[0];
  if (granted !== remaining + reserved + findings.tokens.charged) {
    violation(
      `granted ${granted}, remaining ${remaining}, reserved ${reserved}, charged ${findings.tokens.charged}`,
    );
  }
  const { rows: faults } = await db.admin.query("select * from public.verify_token_ledger()");
  for (const fault of faults) violation(`verify_token_ledger: ${JSON.stringify(fault)}`);
  return findings;
}

/** What the books took for a stream, and how often they recorded it. */
interface Charge {
  /** Paid or uncovered. */
  tokens: number;
  uncovered: number;
  usages: number;
  late: number;
}

async function chargesOf(db: Database): Promise<Map<string, Charge>> {
  const { rows } = await db.admin.query(`
    with ledger as (
      select t.metadata->>'stream' as stream, sum(-t.tokens)::float8 as paid,
             (count(*) filter (where t.idempotency_key like 'hold:%'))::int as late
        from public.token_transactions t
       where t.entry_type in ('deduction', 'usage')
       group by 1
    ), usage as (
      select u.metadata->>'stream' as stream, sum(u.tokens_uncovered)::float8 as uncovered, count(*)::int as usages
        from public.token_usage u
       group by 1
    )
    select l.stream, l.paid + coalesce(u.uncovered, 0) as tokens, coalesce(u.uncovered, 0) as uncovered,
           coalesce(u.usages, 0) as usages, l.late
      from ledger l left join usage u using (stream)`);
  return new Map(rows.map(({ stream, ...charge }) => [stream as string, charge as Charge]));
}

/** What is due for a stream, from what it did. */
function dueOf({ plan, outcome, reported }: Deed): number | "nothing or everything" {
  if (plan.fate === "crashes") return "nothing or everything"; // by whether the books had been told
  if (outcome === "completed" || outcome === "aborted" || outcome === "timed_out") return reported ?? 0;
  return 0;
}

function compare(deed: Deed, charges: Map<string, Charge>, violation: (text: string) => void): void {
  const { plan, outcome, ran, reported } = deed;
  const charge = charges.get(plan.id) ?? { tokens: 0, usages: 0 };
  const due = dueOf(deed);
  const fits =
    due === "nothing or everything" ? [0, reported ?? 0].includes(charge.tokens) : charge.tokens === due;
  if (!fits) violation(`${plan.id} ${plan.fate}, ${outcome}: charged ${charge.tokens}, due ${due}`);
  const traces = ran && plan.fate !== "crashes" ? [1] : plan.fate === "crashes" ? [0, 1] : [0];
  if (!traces.includes(charge.usages))
    violation(`${plan.id} ${plan.fate}, ${outcome}: ${charge.usages} traces`);
}

function outcomeOf(helper: Helper, error: unknown, gone: AbortSignal): string {
  if (error instanceof helper.NotSettledError) return "not settled";
  if (error instanceof helper.TokensShortError) return "short";
  if (error instanceof helper.CallAlreadyMadeError) return `refused: ${error.holdStatus}`;
  if (error instanceof helper.CallTimedOutError) return "timed_out";
  if (error instanceof helper.TokenbookError) return "books out of reach";
  if (gone.aborted && error === gone.reason) return "aborted";
  return "failed";
}

function planOf(n: number, seed: number, users: string[]): Plan {
  const rng = random(seed * 1_000_003 + n);
  const chunks = Array.from({ length: 1 + Math.floor(rng() * 5) }, () => 1 + Math.floor(rng() * 200));
  const fate = pick(rng, [
    ["runs", 40] as const,
    ["throws", 12] as const,
    ["is cancelled", 12] as const,
    ["is aborted", 12] as const,
    ["stalls", 8] as const,
    ["crashes", 10] as const,
    ["is released", 6] as const,
  ]);
  const id = `stream-${seed}-${n}`;
  return {
    id,
    userId: users[Math.floor(rng() * users.length)]!,
    key: rng() < 0.08 ? `key-${id}` : undefined,
    asStream: fate === "is cancelled" || rng() < 0.5,
    tokens: 1 + Math.floor(rng() * 1_000), // often less than it will use
    chunks,
    inputTokens: Math.floor(rng() * 100),
    at: Math.floor(rng() * (chunks.length + 1)),
    fate,
    ttlSeconds: fate === "crashes" ? 2 : 600,
    crashAfter: rng() < 0.5,
    rng,
  };
}

/** The same request, sent again; it has a fate of its own. */
function again(plan: Plan, which: string): Plan {
  const rng = random(hash(`${plan.id}${which}`));
  const fate = rng() < 0.7 ? "runs" : "throws";
  return { ...plan, id: `${plan.id}-${which}`, rng, fate };
}

function pick<Value>(rng: () => number, weighted: readonly (readonly [Value, number])[]): Value {
  let left = rng() * weighted.reduce((sum, [, weight]) => sum + weight, 0);
  return weighted.find(([, weight]) => (left -= weight) < 0)![0];
}

/** Some of the time nothing, some of the time a few milliseconds. */
async function pause(rng: () => number): Promise<void> {
  const ms = rng() < 0.5 ? 0 : Math.floor(rng() * 4);
  await new Promise((go) => (ms === 0 ? setImmediate(go) : setTimeout(go, ms)));
}

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (const character of text) sum = Math.imul(sum ^ character.charCodeAt(0), 0x01000193);
  return sum >>> 0;
}
