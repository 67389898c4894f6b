import Table from "cli-table3";
import pg from "pg";
import type { demo as Demo } from "./demo.ts";
import type { Keys } from "local-platform/gateway/keys";

/** What is running. */
export interface Running {
  /** The page's. */
  console: string;
  /** The API's. */
  url: string;
  databaseUrl: string;
  keys: Keys;
  /** Where URL and keys have been written. */
  envFile: string;
  demo: typeof Demo;
}

interface Balance {
  total_active: number;
  tokens_limit: number | null;
  plan_type: string | null;
  grants: unknown[];
}

/**
 * The screen after a start: where things are, who can sign in and what they own, and what to try.
 * The balances come through the API, so a screen with balances is also a proof that it answers.
 */
export async function welcome(running: Running): Promise<string> {
  const { url, databaseUrl, keys, demo } = running;
  const ids = await findUsers(databaseUrl, demo.emails);
  const people = table(["sign in as", "password", "plan", "tokens", "limit", "grants", "user id"]);
  for (const email of demo.emails) {
    const id = ids.get(email);
    // Somebody who tried the demo may have deleted the user.
    if (id === undefined) continue;
    const balance = await fetchBalance(url, keys.secretKey, id);
    people.push([
      email,
      demo.password,
      balance.plan_type ?? "",
      { content: balance.total_active.toLocaleString("en"), hAlign: "right" },
      { content: balance.tokens_limit?.toLocaleString("en") ?? "", hAlign: "right" },
      { content: balance.grants.length, hAlign: "right" },
      id,
    ]);
  }
  const places = table();
  places.push(
    ["console", running.console],
    ["API", url],
    ["publishable key", keys.publishableKey],
    ["secret key", `${keys.secretKey}   (server only)`],
    ["Postgres", databaseUrl],
  );
  return `
${places}

${people}
URL, keys and connection string are in .env.local too.
Their books are right. npm run demo:broken adds some that are wrong on purpose, and says how to see it caught.

Try, in another terminal:

${calls(running, ids.get(demo.spender) ?? "<user id>")}
`;
}

/** Three calls to copy: bash with curl, and Node to read the token out of the answer. */
function calls({ envFile, demo }: Running, spenderId: string): string {
  const post = (path: string, token: string | undefined, body: object) =>
    `curl -s "$SUPABASE_URL${path}" -H "apikey: $SUPABASE_PUBLISHABLE_KEY" \\\n` +
    (token === undefined ? "" : `  -H "Authorization: Bearer ${token}" \\\n`) +
    `  -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'`;
  const signIn = (email: string) => {
    const credentials = { email, password: demo.password };
    const answer = post("/auth/v1/token?grant_type=password", undefined, credentials);
    return `$(${answer} \\\n  | node -pe 'JSON.parse(fs.readFileSync(0)).access_token')`;
  };
  return [
    "# 1. Alice signs in and asks for their balance",
    `. '${envFile}'`,
    `ALICE=${signIn(demo.spender)}`,
    post("/rest/v1/rpc/get_user_token_balance", "$ALICE", {}),
    "",
    "# 2. Alice spends 150,000 tokens, from three grants: the oldest first",
    post("/rest/v1/rpc/deduct_tokens_with_fifo", "$ALICE", {
      p_user_id: spenderId,
      p_tokens_to_deduct: 150_000,
    }),
    "",
    "# 3. The administrator corrects Alice's balance, through the edge function",
    `ADMIN=${signIn(demo.administrator)}`,
    post("/functions/v1/admin-adjust", "$ADMIN", {
      userId: spenderId,
      delta: 25_000,
      reason: "goodwill",
    }),
  ].join("\n");
}

async function findUsers(databaseUrl: string, emails: readonly string[]): Promise<Map<string, string>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ id: string; email: string }>(
      "select id, email from auth.users where email = any ($1)",
      [emails],
    );
    return new Map(rows.map((row) => [row.email, row.id]));
  } finally {
    await client.end();
  }
}

async function fetchBalance(url: string, secretKey: string, userId: string): Promise<Balance> {
  const response = await fetch(`${url}/rest/v1/rpc/get_user_token_balance`, {
    method: "POST",
    headers: { apikey: secretKey, "content-type": "application/json" },
    body: JSON.stringify({ p_user_id: userId }),
  });
  if (!response.ok) {
    throw new Error(`The API answered ${response.status}: ${await response.text()}`);
  }
  return (await response.json()) as Balance;
}

function table(head: string[] = []) {
  // No colours: the keys are there to be copied, and the screen may be a file.
  return new Table({ head, style: { head: [], border: [] } });
}
