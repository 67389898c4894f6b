/**
 * While a user's books are on their way to another project, and after they have gone: whatever is called about them
 * writes none of their rows, and says so; the jobs that go through everybody leave them alone.
 */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { argumentsAbout, callablesOf, callOf, type Callable } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant, mutantNamed, mutate } from "../support/mutants.ts";
import { isKnownEverywhere, populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { asService, rpc } from "../support/roles.ts";

/** What answers all the same, and why. */
const answers: Record<string, string> = {
  can_spend_tokens: "false, for policies",
  has_token_plan: "for policies, of the plan that they had here",
  get_token_user: "an operator's look, with the state",
  list_token_changes: "an operator's look",
  dismiss_parked_token_payment: "nothing of theirs is parked",
  prepare_token_checkout: "asked for two things at once",
  record_token_subscription_event: "not asked for a subscription",
  deduct_tokens_batch: "of their item account_moved",
  get_token_history: "their newest page is what it was (older pages are refused)",
  verify_token_ledger: "an operator's look",
  verify_token_checkpoint: "an operator's look",
  checkpoint_token_ledger: "an operator's look",
  find_token_discrepancies: "an operator's look",
  check_token_synchronization: "an operator's look",
  replay_token_balances: "an operator's look",
  list_token_webhook_deliveries: "what is still to be told from here",
  repeat_token_webhook_delivery: "what is still to be told from here",
  settle_token_webhook: "what is still to be told from here",
  claim_token_webhooks: "what is still to be told from here",
};

/** Tables that are written here all the same, and not looked at. */
const ofHere = [
  "moves",
  "webhook_deliveries",
  "ledger_checkpoints",
  "usage_marks",
  "usage_totals",
  "set_aside_accounts",
  "admins",
];

async function digest(db: Database, ids: string[]): Promise<Record<string, string>> {
  const { rows } = await db.admin.query<{ name: string }>(
    `select format('%s.%s', n.nspname, c.relname) as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id'
      where (n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname like 'token%') and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all ($1)`,
    [ofHere],
  );
  const { rows: seen } = await db.admin.query<Record<string, string>>(
    `select ${rows.map(({ name }) => `(select md5(string_agg(t::text, ',' order by t::text)) from ${name} t where user_id = any ($1)) as "${name}"`).join(", ")}`,
    [ids],
  );
  return seen[0]!;
}

const refused = /^account_(moved|moving)$/;

/** Functions of the API that are about a user. */
async function aboutUsers(db: Database): Promise<Callable[]> {
  return (await callablesOf(db)).filter(
    ({ schema, name, parameters }) =>
      schema === "public" &&
      /token|storage/.test(name) &&
      parameters.some((one) =>
        /user_id|member_id|p_items|p_provider_(payment|subscription)_id/.test(one.name),
      ),
  );
}

/** The call as the server makes it, taken back: what it answers, or why not. */
async function ask(client: pg.ClientBase, life: PopulatedUser, callable: Callable): Promise<string> {
  const args = argumentsAbout(life, callable);
  delete args["p_for_everyone"];
  const { sql, values } = callOf(callable, args);
  return await client.query(sql, values).then(
    ({ rows }) => JSON.stringify(rows[0]?.value ?? null),
    (error: Error) => error.message,
  );
}

describe("every function of the API", () => {
  let db: Database;
  let life: PopulatedUser;
  const setState = async (state: string) => {
    await db.admin.query(
      "update public.token_accounts set state = $2, next_due_at = null, alerts_version = null where user_id = any ($1)",
      [[life.id, life.member], state],
    );
    await db.admin.query(
      "update tokenbook.moves set phase = $1, settled_at = case $1 when 'moved' then now() end where direction = 'out'",
      [state === "moved" ? "moved" : "moving"],
    );
  };
  beforeAll(async () => {
    db = await createDatabase();
    life = await populateUser(db);
    await isKnownEverywhere(db, life);
    await db.admin.query(
      `insert into tokenbook.moves (user_id, id, direction, phase, place, former_state)
       select u, gen_random_uuid(), 'out', 'moving', 'eu-2', 'active' from unnest($1::uuid[]) u`,
      [[life.id, life.member]],
    );
  });
  afterAll(() => db.drop());

  test.each(["moving", "arriving", "moved"])(
    "leaves the books alone that are `%s`, and says so",
    async (state) => {
      await setState(state);
      const was = await digest(db, [life.id, life.member]);
      const wrong: string[] = [];
      let asked = 0;
      for (const callable of await aboutUsers(db)) {
        const name = callable.name.replace("public.", "");
        if (name === "forget_token_user") continue;
        const said = await asService(db, (client) => ask(client, life, callable)).catch(
          (error: Error) => error.message,
        );
        asked++;
        if (!refused.test(said) && !(name in answers)) wrong.push(`${name} says ${said.slice(0, 90)}`);
        if (name === "deduct_tokens_batch" && !/account_mov/.test(said)) wrong.push(`${name} says ${said}`);
      }
      expect(wrong).toEqual([]);
      expect(asked).toBeGreaterThan(50);
      expect(await digest(db, [life.id, life.member])).toEqual(was);
      if (state !== "moved") {
        const said = await asService(db, (client) =>
          rpc(client, "forget_token_user", { p_user_id: life.id }),
        ).catch((error: Error) => error.message);
        expect(said).toBe("account_moving");
      }
    },
  );

  test.each([
    ["moved-accounts-are-locked", "deduct_tokens_with_fifo"],
    ["moved-accounts-are-waited-for", "deduct_tokens_with_fifo"],
    ["moved-accounts-among-several", "remove_token_team_member"],
    ["moved-holds-are-settled", "capture_tokens"],
    ["moved-balances-are-read", "get_user_token_balance"],
    ["moved-users-are-read", "get_token_usage_by"],
    ["moved-users-are-here", "acknowledge_token_finding"],
  ])("known bad: %s", async (mutant, name) => {
    await setState("moved");
    const client = new pg.Client({ connectionString: db.url("postgres") });
    await client.connect();
    try {
      const callable = (await aboutUsers(db)).find((one) => one.name === `public.${name}`)!;
      const said: string[] = [];
      for (const variant of ["", `${mutate};${await mutantNamed(mutant)}`]) {
        await client.query("begin");
        await client.query(variant);
        await client.query(
          `set local role service_role; set local request.jwt.claims = '{"role": "service_role"}'`,
        );
        said.push(await ask(client, life, callable));
        await client.query("rollback");
      }
      expect(said[0]).toBe("account_moved");
      expect(said[1]).not.toBe("account_moved");
    } finally {
      await client.end();
    }
  });
});

describe("the jobs that go through everybody", () => {
  const tries = async (mutant?: string) => {
    const db = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(db, mutant);
      const life = await populateUser(db);
      await db.admin.query(
        "update public.token_accounts set next_due_at = now() - interval '1 day', alerts_version = 0",
      );
      await db.admin.query(
        "select tokenbook.begin_move(gen_random_uuid(), array[$1, $2]::uuid[], 'elsewhere')",
        [life.id, life.member],
      );
      await db.admin.query("update tokenbook.project_settings set alerts_version = 7");
      await db.admin.query(
        "update public.token_balances set expires_at = now() - interval '1 minute' where user_id = $1 and is_open and granted_at < now() - interval '1 minute'",
        [life.id],
      );
      await db.admin.query(
        "update public.token_holds set created_at = now() - interval '10 hours', expires_at = now() - interval '1 hour' where user_id = $1 and status = 'open'",
        [life.id],
      );
      const before = await digest(db, [life.id, life.member]);
      const did: unknown[] = [];
      for (const job of ["expire_old_token_grants", "arm_token_alerts"])
        did.push(await asService(db, (client) => rpc(client, job)));
      const claimed = await asService(db, (client) =>
        client.query("select * from public.claim_token_top_ups(200, 60)"),
      );
      did.push(claimed.rowCount);
      const { rows } = await db.admin.query("select count(*)::int as n from tokenbook.set_aside_accounts");
      did.push(rows[0].n);
      const after = await digest(db, [life.id, life.member]);
      return { did, isSame: JSON.stringify(after) === JSON.stringify(before) };
    } finally {
      await db.drop();
    }
  };

  test("find nothing to do, and set nobody aside", async () => {
    expect(await tries()).toEqual({ did: [0, 0, 0, 0], isSame: true });
  });

  test.each(["moved-accounts-are-swept", "moved-top-ups-are-charged"])("known bad: %s", async (mutant) => {
    expect(await tries(mutant)).not.toEqual({ did: [0, 0, 0, 0], isSame: true });
  });
});
