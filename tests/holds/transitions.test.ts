import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
type Receipt = Record<string, unknown>;
const call = (name: string, args: object): Promise<Receipt> =>
  asService(db, (client) => rpc(client, name, args as Record<string, unknown>));

interface Situation {
  user: string;
  hold: string;
}

/** A user with 100 tokens of which 60 are held, 40 left to spend. */
async function held(ttl = 900): Promise<Situation> {
  const user = await createUser(db);
  await grant(db, user, 100);
  const receipt = await call("reserve_tokens", { p_user_id: user, p_tokens: 60, p_ttl_seconds: ttl });
  return { user, hold: receipt["hold_id"] as string };
}

const capture = ({ user, hold }: Situation, args: object = {}) =>
  call("capture_tokens", { p_user_id: user, p_hold_id: hold, ...args });
const release = ({ user, hold }: Situation) => call("release_tokens", { p_user_id: user, p_hold_id: hold });

/** How a hold comes to be in each state. */
const STATES: Record<string, () => Promise<Situation>> = {
  open: () => held(),
  captured: async () => {
    const situation = await held();
    await capture(situation, { p_tokens: 50 });
    return situation;
  },
  released: async () => {
    const situation = await held();
    await release(situation);
    return situation;
  },
  "run out": async () => {
    const situation = await held(1);
    await sleep(1_050);
    return situation;
  },
  expired: async () => {
    const situation = await held(1);
    await sleep(1_050);
    await call("get_user_token_balance", { p_user_id: situation.user });
    return situation;
  },
};

/** What can happen to it. */
const EVENTS: Record<string, (situation: Situation) => Promise<Receipt>> = {
  "capture all": (it) => capture(it),
  "capture less (45)": (it) => capture(it, { p_tokens: 45 }),
  "capture nothing": (it) => capture(it, { p_tokens: 0 }),
  "capture more (80), deduct": (it) => capture(it, { p_tokens: 80 }),
  "capture more than there is (130), deduct": (it) => capture(it, { p_tokens: 130 }),
  "capture more (80), partial": (it) => capture(it, { p_tokens: 80, p_over_capture: "partial" }),
  "capture more than there is (130), partial": (it) =>
    capture(it, { p_tokens: 130, p_over_capture: "partial" }),
  "capture more (80), cap": (it) => capture(it, { p_tokens: 80, p_over_capture: "cap" }),
  "capture more (80), reject": (it) => capture(it, { p_tokens: 80, p_over_capture: "reject" }),
  "capture with usage (45)": (it) =>
    capture(it, { p_model_used: "gpt-4", p_input_tokens: 30, p_output_tokens: 15 }),
  "capture of a failed call": (it) => capture(it, { p_success: false, p_error_message: "no" }),
  release: (it) => release(it),
  "its user spends 30": async ({ user }) => {
    await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 30 });
    return {};
  },
  "its user reads their balance": async ({ user }) => {
    await call("get_user_token_balance", { p_user_id: user });
    return {};
  },
};

test("every event in every state ends as this table says, with clean books", async () => {
  const rows = await Promise.all(
    Object.entries(STATES).flatMap(([state, arrange]) =>
      Object.entries(EVENTS).map(async ([event, happen]) => {
        const situation = await arrange();
        const answer = await happen(situation).catch((error: { message: string }) => ({
          refused: error.message,
        }));
        const { rows: found } = await db.admin.query(
          `select h.status, h.tokens_captured, a.tokens_remaining, a.tokens_reserved, a.tokens_used
             from public.token_holds h join public.token_accounts a using (user_id)
            where h.user_id = $1 and h.id = $2`,
          [situation.user, situation.hold],
        );
        return `| ${state} | ${event} | ${said(answer)} | ${found[0].status} | ${found[0].tokens_captured ?? "–"} | ${found[0].tokens_remaining} | ${found[0].tokens_reserved} | ${found[0].tokens_used} |`;
      }),
    ),
  );
  await expectCleanBooks(db);
  expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);

  console.log(
    `hold transitions: states=${Object.keys(STATES).length} events=${Object.keys(EVENTS).length} tried=${rows.length}`,
  );
  await expect(`${heading}${rows.join("\n")}\n`).toMatchFileSnapshot("../../docs/hold-transitions.md");
}, 60_000);

const heading = `# What becomes of a hold

Every event in every state, as \`tests/holds/transitions.test.ts\` finds it (\`npx vitest run tests/holds -u\` writes
this page). Each begins with 100 tokens of which 60 are held, so 40 can be spent; \`captured\` had captured 50. *Run out*
is past its time and not booked yet, *expired* is booked: nobody can tell them apart by what happens next.

| state | event | answer | hold after | captured | spendable | reserved | used |
| ----- | ----- | ------ | ---------- | -------- | --------- | -------- | ---- |
`;

function said(answer: Receipt): string {
  if ("refused" in answer) return `refused: ${String(answer["refused"])}`;
  if (!("success" in answer)) return "–";
  const short = Number(answer["tokens_remaining_to_deduct"]);
  return [
    answer["success"] ? "success" : "no success",
    ...(short > 0 ? [`${short} not covered`] : []),
    ...(answer["replayed"] ? ["replayed"] : []),
  ].join(", ");
}
