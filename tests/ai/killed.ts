/** Servers of a chat, killed in the middle of a turn; and what the books say when it has been asked for again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type Step as Asking, startProxy, type Trouble } from "../package/faulty-proxy.ts";
import type { Stack } from "../functions/stack.ts";
import { breaches, grant } from "../support/books.ts";
import { takeTheClock } from "../support/clock.ts";
import type { Dice } from "../support/dice.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { modelOf, type Step as Answering, startProvider, words } from "./provider.ts";

/** What each turn costs, by the provider, and what its user had before. */
export const [cost, granted] = [30, 10_000];
export const model = modelOf("runs", 20, 10);

/** What a user asked: sent again it is the same turn. */
export interface Turn {
  userId: string;
  key: string;
  model: string;
}

/** What a server says of a turn. */
export interface Line {
  ready?: true;
  key?: string;
  word?: string;
  end?: string;
  status?: string;
  outcome?: string;
  notSettled?: object;
}

/** A server of the chat. */
export interface Server {
  child: ChildProcess;
  lines: Line[];
  /** Resolves when it has said that, or is gone. */
  said(that: (line: Line) => boolean): Promise<void>;
  kill(): Promise<void>;
}

/** What becomes of a turn that is killed there: what the books have of it then. */
export const moments: readonly [moment: string, left: "nothing" | "open" | "captured"][] = [
  ["the hold is asked for, and that gets lost", "nothing"],
  ["the hold is asked for", "open"],
  ["the hold is made", "open"],
  ["the model is asked", "open"],
  ["the answer has begun", "open"],
  ...words.map((_, nth) => [`word ${nth + 1} is read`, "open"] as [string, "open"]),
  ["the count is sent", "open"],
  ["the capture is asked for, and that gets lost", "open"],
  ["the capture is asked for", "captured"],
  ["the capture is made", "captured"],
  ["the capture is answered", "captured"],
  ["the turn is over", "captured"],
];

export interface Findings {
  kills: number;
  /** What the books had of the turns when their servers were killed. */
  mix: Record<string, number>;
  /** Turns whose user misses tokens that no call has cost, when all that was held has run out. */
  leaks: number;
  /** Turns that were paid for more than once in the end. */
  twice: number;
  /** What else is not as it must be, in words. */
  violations: string[];
}

/**
 * Kills servers: `forced` turns at each moment, in turn, and `random` turns at random ones; then asks for each turn again, by
 * servers that know nothing of the first, before and after what was held has run out.
 */
export async function killServers(
  stack: Stack,
  folder: string,
  { forced, random, dice }: { forced: number; random: number; dice: Dice },
): Promise<Findings> {
  const { db } = stack;
  const setClock = await takeTheClock(db);
  const found: Findings = { kills: 0, mix: {}, leaks: 0, twice: 0, violations: [] };
  const count = (what: string) => (found.mix[what] = (found.mix[what] ?? 0) + 1);

  /** Where a turn is to be killed, and who answers it. */
  const plans = new Map<string, { moment: string; server?: Server; turn: Turn }>();
  const travelling = new Set<string>();
  let modelAsked = 0;

  async function is(moment: string, plan?: { moment: string; server?: Server }): Promise<boolean> {
    if (plan?.moment !== moment || plan.server === undefined) return false;
    await plan.server.kill();
    return true;
  }

  async function asking(step: Asking, path: string, body: string): Promise<Trouble | undefined> {
    if (step === "asked") travelling.add(path + body);
    else travelling.delete(path + body);
    const what = { reserve_tokens: "hold", capture_tokens: "capture" }[path.split("/").at(-1)!];
    if (what === undefined) return undefined;
    const plan = plans.get((JSON.parse(body) as { p_user_id: string }).p_user_id);
    if (step === "asked") {
      if (await is(`the ${what} is asked for, and that gets lost`, plan)) {
        travelling.delete(path + body);
        return "lost";
      }
      await is(`the ${what} is asked for`, plan);
    } else if (step === "answered") {
      if (await is(`the ${what} is made`, plan)) return "answer lost";
    } else await is(`the ${what} is answered`, plan);
    return undefined;
  }

  async function answering(step: Answering, request: { headers: NodeJS.Dict<string | string[]> }) {
    if (step === "asked") modelAsked++;
    const plan = [...plans.values()].find(({ turn }) => turn.key === request.headers["idempotency-key"]);
    if (plan?.server === undefined) return;
    if (step === "asked") await is("the model is asked", plan);
    else if (step === "begun") await is("the answer has begun", plan);
    else if (step === "counted") await is("the count is sent", plan);
    else {
      if (plan.moment === "") return;
      let read = 0;
      await plan.server.said(({ word }) => word !== undefined && ++read === step);
      await is(`word ${step} is read`, plan);
    }
  }

  const proxy = await startProxy(stack.url, asking);
  const provider = await startProvider(5, answering);
  const serve = (turns: readonly Turn[]) =>
    startServer(folder, turns, { url: proxy.url, secretKey: stack.keys.secretKey, modelUrl: provider.url });
  const newTurn = async (): Promise<Turn> => {
    const userId = await createUser(db);
    await grant(db, userId, granted);
    return { userId, key: crypto.randomUUID(), model };
  };

  // how long eight turns take here
  const unharmed = serve(await Promise.all(Array.from({ length: 8 }, newTurn)));
  await unharmed.said(({ ready }) => ready === true);
  const begin = performance.now();
  await unharmed.said(() => false);
  const milliseconds = (performance.now() - begin) * 1.2;

  // 1. each is killed
  const turns: Turn[] = [];
  const planned = Array.from({ length: forced }, (_, nth) => moments[nth % moments.length]!);
  const killOne = async ([moment, left]: (typeof moments)[number]) => {
    const turn = await newTurn();
    turns.push(turn);
    const plan: { moment: string; server?: Server; turn: Turn } = { moment, turn };
    plans.set(turn.userId, plan);
    plan.server = serve([turn]);
    if (moment === "the turn is over") {
      await plan.server.said(({ end }) => end !== undefined);
      await plan.server.kill();
    }
    const gaveUp = setTimeout(() => {
      found.violations.push(`it never came to where ${moment}: ${JSON.stringify(plan.server!.lines)}`);
      void plan.server!.kill();
    }, 60_000);
    await plan.server.said(() => false);
    clearTimeout(gaveUp);
    while (travelling.size > 0) await sleep(5);
    const has = (await stateOf([turn]))[0]!;
    if (has.left !== left) found.violations.push(`killed where ${moment}: ${JSON.stringify(has)}`);
    count(has.left);
    found.kills++;
  };
  const lanes = planned.values();
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      for (const it of lanes) await killOne(it);
    }),
  );
  while (found.kills < forced + random) {
    const some = await Promise.all(
      Array.from({ length: Math.min(8, forced + random - found.kills) }, newTurn),
    );
    turns.push(...some);
    for (const turn of some) plans.set(turn.userId, { moment: "", turn });
    const server = serve(some);
    await server.said(({ ready }) => ready === true);
    await sleep(dice.below(milliseconds));
    await server.kill();
    while (travelling.size > 0) await sleep(5);
    found.kills += some.length;
    for (const { left } of await stateOf(some)) count(left);
  }
  for (const plan of plans.values()) delete plan.server;
  await look("after the kills");

  // 2. asked for again at once: who died with a hold is in its way until that has run out
  const before = await stateOf(turns);
  const modelBefore = modelAsked;
  const again = await answers(turns);
  for (const [nth, { left }] of before.entries()) {
    const said = `${again[nth]!.end}, ${again[nth]!.status}`;
    const due = {
      nothing: "answered, undefined",
      open: "call_already_made, open",
      captured: "call_already_made, settled",
    };
    if (said !== due[left]) found.violations.push(`asked for again with ${left}: ${said}`);
  }
  const made = before.filter(({ left }) => left === "nothing").length;
  if (modelAsked - modelBefore !== made) {
    found.violations.push(`the model was asked ${modelAsked - modelBefore} times for ${made} turns`);
  }
  await look("after they were asked for again");

  // 3. what is held runs out by itself
  await setClock(new Date(Date.now() + 3_600_000).toISOString());
  for (const { userId } of turns) {
    const { total_active, total_reserved } = await asService(db, (client) =>
      rpc(client, "get_user_token_balance", { p_user_id: userId }),
    );
    if (total_reserved !== 0 || (granted - total_active) % cost !== 0) found.leaks++;
  }
  await look("after the holds ran out");

  // 4. asked for until it is paid for, and once more
  await answers(turns);
  const modelThen = modelAsked;
  const last = await answers(turns);
  if (modelAsked !== modelThen) found.violations.push("the model was asked for a turn that was paid for");
  for (const { end } of last) if (end !== "call_already_made") found.violations.push(`in the end: ${end}`);
  for (const { used, usage } of await stateOf(turns)) {
    if (used > cost) found.twice++;
    else if (used !== cost || usage !== "20+10") found.violations.push(`in the end: ${used}, ${usage}`);
  }
  await look("in the end");
  proxy.close();
  await provider.close();
  return found;

  /** What each server says last of each turn. */
  async function answers(asked: readonly Turn[]): Promise<Line[]> {
    const server = serve(asked);
    await server.said(() => false);
    const ends = new Map(server.lines.filter(({ end }) => end !== undefined).map((it) => [it.key, it]));
    return asked.map(({ key }) => ends.get(key) ?? { end: "nothing was said" });
  }

  async function stateOf(asked: readonly Turn[]) {
    const { rows } = await db.admin.query<{
      left: "nothing" | "open" | "captured";
      used: number;
      usage: string;
    }>(
      `select a.tokens_used::float8 as used,
              case when exists (select from public.token_holds h where h.user_id = a.user_id and h.status = 'open') then 'open'
                   when a.tokens_used > 0 then 'captured' else 'nothing' end as left,
              (select string_agg(u.input_tokens || '+' || u.output_tokens, ', ') from public.token_usage u
                where u.user_id = a.user_id and u.success) as usage
         from unnest($1::uuid[]) with ordinality as asked (user_id, nth)
         join public.token_accounts a on a.user_id = asked.user_id
        order by asked.nth`,
      [asked.map(({ userId }) => userId)],
    );
    return rows;
  }

  async function look(when: string): Promise<void> {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    for (const fault of [...rows.map((row) => JSON.stringify(row)), ...(await breaches(db))])
      found.violations.push(`${when}: ${fault}`);
  }
}

/** Starts a server of the chat for these turns. */
export function startServer(
  folder: string,
  turns: readonly Turn[],
  {
    url,
    secretKey,
    modelUrl,
    patience = {},
  }: { url: string; secretKey: string; modelUrl: string; patience?: object },
): Server {
  const child = spawn(process.execPath, ["chat.mjs", JSON.stringify(turns)], {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      SUPABASE_URL: url,
      SUPABASE_SECRET_KEY: secretKey,
      MODEL_URL: modelUrl,
      PATIENCE: JSON.stringify(patience),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = once(child, "close").then(() => {});
  const lines: Line[] = [];
  const heard = createInterface(child.stdout!);
  heard.on("line", (line) => lines.push(JSON.parse(line) as Line));
  return {
    child,
    lines,
    async said(that) {
      let from = 0;
      const isSaid = () => {
        while (from < lines.length) if (that(lines[from++]!)) return true;
        return false;
      };
      let isGone = false;
      while (!isSaid() && !isGone) {
        isGone = await Promise.race([gone.then(() => true), once(heard, "line").then(() => false)]);
      }
    },
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}
