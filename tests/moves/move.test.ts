/** A user's books go from one project to another: all of them, once, and nothing of them stays in use. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Proof } from "../../packages/tokenbook/src/move/books.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import type { Database } from "../support/database.ts";
import { isKnownEverywhere, populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { told } from "../support/provider-events.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { cancelMove, connectTo, createProjects, moveUser, type Projects } from "./two-projects.ts";

const call = (db: Database, name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));

const refusal = (asked: Promise<unknown>) =>
  asked.then(
    () => "answered",
    (error: Error & { detail?: string }) => `${error.message} ${error.detail ?? ""}`.trim(),
  );

const spend = (db: Database, id: string, tokens: number, key: string) =>
  call(db, "deduct_tokens_with_fifo", { p_user_id: id, p_tokens_to_deduct: tokens, p_idempotency_key: key });

/** What does not go along, and why: by hand, against the list that the move goes by. */
const stays = [
  "tokenbook.admins", // of a project
  "tokenbook.ledger_checkpoints", // computed
  "tokenbook.moves", // each end has its own
  "tokenbook.set_aside_accounts", // a sweep's
  "tokenbook.usage_marks", // computed
  "tokenbook.usage_totals", // computed
  "tokenbook.webhook_deliveries", // told from where it happened
];

/** Tables with rows of users, by the catalogue. */
async function tablesOf(db: Database): Promise<string[]> {
  const { rows } = await db.admin.query<{ name: string }>(`
    select n.nspname || '.' || c.relname as name from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id'
     where (n.nspname = 'tokenbook' or n.nspname = 'public' and c.relname like 'token%') and c.relkind in ('r', 'p') and not c.relispartition
     order by 1`);
  return rows.map(({ name }) => name);
}

/** All rows of these users, without what means something in one database only. */
async function rowsOf(db: Database, ids: string[]): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const table of [
    ...(await tablesOf(db)),
    "tokenbook.provider_events",
    "tokenbook.provider_subscription_events",
  ]) {
    if (stays.includes(table)) continue;
    const where = table.endsWith("_events") ? "true" : "user_id = any ($1)";
    const { rows } = await db.admin.query<{ row: string }>(
      `select (to_jsonb(t) - $2::text[])::text as row from ${table} t where ${where} and $1::uuid[] is not null order by 1`,
      [ids, ownColumns[table] ?? []],
    );
    found[table] = rows.map(({ row }) => row);
  }
  return found;
}

const ownColumns: Record<string, string[]> = {
  "public.token_accounts": ["state", "next_due_at", "alerts_version", "updated_at"],
  "tokenbook.changes": ["id"],
  "tokenbook.failed_registrations": ["id"],
  "tokenbook.archived_profile_counters": ["id"],
  "tokenbook.cleared_token_balances": ["id"],
  "tokenbook.token_alert_states": ["changed_in"],
  "tokenbook.provider_payments": ["alert_id"],
};

/** What migrations and faults leave, of a user who has everything else. */
async function isLeftOver(db: Database, id: string): Promise<void> {
  await db.admin.query("insert into tokenbook.failed_registrations (user_id, error) values ($1, '40P01')", [
    id,
  ]);
  await db.admin.query(
    "insert into tokenbook.archived_profile_counters (user_id, vibe_assistant_tokens_remaining) values ($1, 7)",
    [id],
  );
  await db.admin.query(
    "insert into tokenbook.cleared_token_balances (user_id, grant_row, why) values ($1, '{}', 'a trial')",
    [id],
  );
}

describe("a user of whom every table knows something, and their team", () => {
  let projects: Projects;
  let life: PopulatedUser;
  let ids: string[];
  let before: Record<string, string[]>;
  let receipt: unknown;
  let proof: Proof;
  beforeAll(async () => {
    projects = await createProjects();
    life = await populateUser(projects.from);
    await isKnownEverywhere(projects.from, life);
    await isLeftOver(projects.from, life.id);
    ids = [life.id, life.member];
    receipt = await spend(projects.from, life.id, 12, "before-the-move");
    before = await rowsOf(projects.from, ids);
    proof = (await moveUser(projects, life.id))!;
  });
  afterAll(() => projects.drop());

  test("every row of theirs is in the other project, as it was, and there was one of each", async () => {
    expect(await rowsOf(projects.to, ids)).toEqual(before);
    for (const [table, rows] of Object.entries(before)) expect(rows, table).not.toEqual([]);
    expect(await rowsOf(projects.from, ids)).toEqual(before);
  });

  test("the proof counts them, and is the same computed at either end", async () => {
    for (const [table, rows] of Object.entries(before))
      expect(proof.tables[table]?.rows, table).toBe(rows.length);
    for (const db of [projects.from, projects.to]) {
      const { rows } = await db.admin.query("select tokenbook.prove_books($1) as proof", [ids.toSorted()]);
      expect(rows[0].proof.ledger).toEqual(proof.ledger);
      expect(rows[0].proof.keys).toEqual(proof.keys);
    }
    expect(proof.keys!.count).toBeGreaterThan(3);
  });

  test("the books are right at both ends", async () => {
    for (const db of [projects.from, projects.to]) {
      await expectCleanBooks(db);
      const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
      expect(rows).toEqual([]);
    }
  });

  test("a key used before replays there with the same receipt", async () => {
    expect(await spend(projects.to, life.id, 12, "before-the-move")).toEqual({
      ...(receipt as object),
      replayed: true,
    });
    expect(await refusal(spend(projects.from, life.id, 12, "before-the-move"))).toBe(
      'account_moved {"moved_to": "eu-2"}',
    );
  });

  test("there is no event of a provider for them here any more; there it counts once", async () => {
    const event = {
      p_provider: "stripe",
      p_event_id: `evt-refund-${life.mark}`,
      p_event_type: "refund",
      p_provider_payment_id: life.things.p_provider_payment_id,
      p_facts: told({ kind: "refund", refund_id: "re_1", status: "succeeded", amount_cents: 1950 }),
    };
    expect(await refusal(call(projects.from, "record_token_payment_event", event))).toMatch(/^account_moved/);
    expect(await call(projects.to, "record_token_payment_event", event)).toMatchObject({
      refunded_cents: 1950,
    });
  });

  test("what is personal is erased at both ends", async () => {
    for (const db of [projects.from, projects.to]) {
      const erased = await call(db, "forget_token_user", { p_user_id: life.id });
      expect(erased.erased).toHaveProperty("token_transactions");
    }
  });

  test("signing up there afterwards gives no second plan", async () => {
    const { rows } = await projects.to.admin.query(
      "select count(*)::int as n from public.token_balances where user_id = $1",
      [life.id],
    );
    await projects.to.admin.query(
      "insert into auth.users (id, aud, role, email) values ($1, 'authenticated', 'authenticated', 'x@example.com')",
      [life.id],
    );
    await call(projects.to, "get_user_token_balance", { p_user_id: life.id });
    const after = await projects.to.admin.query(
      "select count(*)::int as n from public.token_balances where user_id = $1",
      [life.id],
    );
    expect(after.rows).toEqual(rows);
    expect(
      await asUser(projects.to, life.id, (client) => rpc(client, "get_user_token_balance")),
    ).toHaveProperty("state", "active");
  });
});

/** A user with some tokens, and what they have done with them. */
async function spender(db: Database): Promise<string> {
  const id = await createUser(db);
  await grant(db, id, 1_000, { key: "given" });
  await spend(db, id, 40, "first");
  return id;
}

const steps = ["locked", "copied", "let go", "opened"] as const;

describe("a move that is stopped", () => {
  let projects: Projects;
  beforeAll(async () => {
    projects = await createProjects();
  });
  afterAll(() => projects.drop());

  test.each(steps)("after `%s`, and gone on with", async (until) => {
    const id = await spender(projects.from);
    await moveUser(projects, id, { until });
    const [here, there] = [
      await refusal(spend(projects.from, id, 1, "here")),
      await refusal(spend(projects.to, id, 1, "there")),
    ];
    expect([here, there].filter((one) => one === "answered").length).toBe(until === "opened" ? 1 : 0);
    expect(here).toMatch(until === "locked" || until === "copied" ? /^account_moving/ : /^account_moved/);

    const proof = await moveUser(projects, id);
    expect(proof!.sums["tokens_remaining"]).toBe(960);
    expect(await refusal(spend(projects.from, id, 1, "here"))).toMatch(/^account_moved/);
    expect(await call(projects.to, "get_user_token_balance", { p_user_id: id })).toMatchObject({
      state: "active",
      total_active: until === "opened" ? 959 : 960,
    });
    await expectCleanBooks(projects.from);
    await expectCleanBooks(projects.to);
  });

  test.each(["locked", "copied"] as const)("after `%s`, and taken back", async (until) => {
    const id = await spender(projects.from);
    const before = await rowsOf(projects.from, [id]);
    await moveUser(projects, id, { until });
    await cancelMove(projects, id);
    expect(await rowsOf(projects.from, [id])).toEqual(before);
    const there = await rowsOf(projects.to, [id]);
    expect(Object.values(there).flat()).toEqual([]);
    expect(await spend(projects.from, id, 60, "again")).toMatchObject({
      success: true,
      tokens_remaining: 900,
    });
    await moveUser(projects, id); // and another one
    expect(await spend(projects.to, id, 60, "again")).toMatchObject({ replayed: true });
    await expectCleanBooks(projects.to);
  });

  test("what runs out is due again where the books are; the trial sees a move that looks at nothing again", async () => {
    const tries = async (mutant?: string) => {
      const { from, to, drop } = await createProjects(mutant);
      const id = await spender(from);
      await call(from, "grant_tokens", {
        p_user_id: id,
        p_tokens: 10,
        p_grant_type: "admin",
        p_expires_at: "2999-01-01",
      });
      const found = async (db: Database) =>
        (await db.admin.query("select invariant, user_id from public.verify_token_ledger()")).rows;
      await moveUser({ from, to }, id, { until: "locked" });
      await cancelMove({ from, to }, id);
      const back = await found(from);
      await moveUser({ from, to }, id);
      const ends = [await found(from), await found(to)];
      await drop();
      return {
        back,
        ends,
        late: [
          { invariant: "I7 the account is due no later than its grants", user_id: id },
          { invariant: "I7 the account says whether its books are here", user_id: id },
        ],
      };
    };
    const right = await tries();
    expect(right).toMatchObject({ back: [], ends: [[], []] });
    const wrong = await tries("moves-look-at-nothing-again");
    expect(wrong).toMatchObject({ back: wrong.late, ends: [[], wrong.late] });
  });

  test("a user with caps of their own comes back, and is taken back; the trial sees caps-stop-moves", async () => {
    const tries = async (mutant?: string) => {
      const { from, to, drop } = await createProjects(mutant);
      try {
        const id = await spender(from);
        await call(from, "set_token_spend_cap", { p_window: "day", p_tokens: 500, p_user_id: id });
        await moveUser({ from, to }, id, { until: "copied" });
        await cancelMove({ from, to }, id);
        await moveUser({ from, to }, id);
        await moveUser({ from: to, to: from }, id);
        const { rows } = await from.admin.query(
          "select a.state, a.has_caps from public.token_accounts a where a.user_id = $1",
          [id],
        );
        return rows;
      } finally {
        await drop();
      }
    };
    expect(await tries()).toEqual([{ state: "active", has_caps: true }]);
    expect(await refusal(tries("caps-stop-moves"))).toMatch(/^account_mov(ed|ing)/);
  });

  test("rules of their own are looked at in a project that has none; the trial sees moved-rules-are-forgotten", async () => {
    const tries = async (mutant?: string) => {
      const { from, to, drop } = await createProjects(mutant);
      const id = await spender(from);
      await call(from, "set_token_alert_rule", {
        p_rule: "half",
        p_kind: "dropped",
        p_threshold_percent: 50,
        p_user_id: id,
      });
      await moveUser({ from, to }, id);
      await to.admin.query("insert into auth.users (id) values ($1)", [id]);
      await spend(to, id, 1, "next");
      await call(to, "change_token_plan", { p_user_id: id, p_plan_type: "professional" });
      const { rows } = await to.admin.query(
        `select coalesce(abs(a.alert_below - s.tokens_limit / 2.0) < 1, false) as is_half
           from public.token_accounts a join public.token_subscriptions s using (user_id) where a.user_id = $1`,
        [id],
      );
      await drop();
      return rows;
    };
    expect(await tries()).toEqual([{ is_half: true }]);
    expect(await tries("moved-rules-are-forgotten")).toEqual([{ is_half: false }]);
  });

  test("while it waits, a connection that is lost in the copy leaves nothing there", async () => {
    const id = await spender(projects.from);
    await moveUser(projects, id, { until: "locked" });
    const to = await connectTo(projects.to);
    const { rows } = await projects.from.admin.query("select id from tokenbook.moves where user_id = $1", [
      id,
    ]);
    await to.query("begin");
    await to.query("select tokenbook.begin_arrival($1, $2, null)", [rows[0].id, { [id]: "active" }]);
    await to.query("insert into public.token_accounts (user_id) values ($1)", [id]);
    (to as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await moveUser(projects, id);
    expect(await spend(projects.to, id, 60, "second")).toMatchObject({ success: true });
  });

  test("cannot be taken back once the project has said that they are elsewhere", async () => {
    const tries = async ({ from, to }: Pick<Projects, "from" | "to">) => {
      const id = await spender(from);
      await moveUser({ from, to }, id, { until: "let go" });
      const here = await refusal(spend(from, id, 1, "next"));
      const taken = await refusal(cancelMove({ from, to }, id));
      // an app goes where it was told, with the same key, until it is answered
      return { here, taken, there: await refusal(spend(to, id, 1, "next")) };
    };
    const isThere = 'account_moved {"moved_to": "eu-2"}';
    const rule = '{"rule": "books that this project has not let go of"}';
    expect(await tries(projects)).toEqual({
      here: isThere,
      taken: `invalid_move ${rule}`,
      there: "account_moving {}",
    });
    const mutated = await createProjects("moves-taken-back-when-told");
    expect(await tries(mutated)).toEqual({ here: isThere, taken: "answered", there: "user_not_found {}" });
    await mutated.drop();
  });

  test("on the way back, and taken back: the project that they left says still where they are", async () => {
    const tries = async ({ from, to }: Pick<Projects, "from" | "to">) => {
      const id = await spender(from);
      await moveUser({ from, to }, id);
      await spend(to, id, 60, "there");
      const back = { from: to, to: from };
      await moveUser(back, id, { place: "home", until: "copied" });
      await cancelMove(back, id);
      const [said, given] = [
        await refusal(spend(from, id, 1, "asked-late")),
        await refusal(call(from, "grant_tokens", { p_user_id: id, p_tokens: 5, p_grant_type: "purchase" })),
      ];
      const left = (await spend(to, id, 1, "asked-late")).tokens_remaining;
      return { said, given, left, back: await refusal(moveUser(back, id, { place: "home" })) };
    };
    const moved = 'account_moved {"moved_to": "eu-2"}';
    expect(await tries(projects)).toEqual({ said: moved, given: moved, left: 899, back: "answered" });
    await expectCleanBooks(projects.from);
    const mutated = await createProjects("taken-back-users-are-forgotten");
    expect(await tries(mutated)).toEqual({
      said: "answered",
      given: "answered",
      left: 899,
      back: 'invalid_move {"rule": "users who have no books there"}',
    });
    await mutated.drop();
  });

  test("cannot be taken back once the other project uses the books", async () => {
    const id = await spender(projects.from);
    await moveUser(projects, id);
    await spend(projects.to, id, 60, "there");
    expect(await refusal(cancelMove(projects, id))).toMatch(/^invalid_move/);
    expect(await spend(projects.to, id, 60, "there")).toMatchObject({ replayed: true });
  });

  test("is not let go of when something was written meanwhile all the same", async () => {
    const id = await spender(projects.from);
    await moveUser(projects, id, { until: "copied" });
    await projects.from.admin.query(
      "insert into tokenbook.code_attempts (user_id, failures, since) values ($1, 1, now())",
      [id],
    );
    expect(await refusal(moveUser(projects, id))).toMatch(/nobody has changed/);
    await cancelMove(projects, id);
    await moveUser(projects, id);
  });
});

describe("in a moment that nobody sees", () => {
  test("the books are in use at neither end, and never at both", async () => {
    const tries = async (mutant?: string) => {
      const projects = await createProjects(mutant);
      const id = await spender(projects.from);
      await moveUser(projects, id, { until: "copied" });
      const said = [
        await refusal(spend(projects.from, id, 1, "here")),
        await refusal(spend(projects.to, id, 1, "there")),
      ];
      await projects.drop();
      return said;
    };
    expect(await tries()).toEqual(["account_moving {}", "account_moving {}"]);
    expect(await tries("moved-books-arrive-open")).toEqual(["account_moving {}", "answered"]);
  });

  test("what writes without the account's lock has written, or is refused", async () => {
    const tries = async (mutant?: string) => {
      const projects = await createProjects(mutant);
      const id = await spender(projects.from);
      const writer = await connectTo(projects.from);
      await writer.query("begin");
      await writer.query("select public.set_token_alert_rule('low', 'depleted', p_user_id => $1)", [id]);
      const moved = moveUser(projects, id).then(
        () => "moved",
        (error: Error) => error.message,
      );
      await new Promise((later) => setTimeout(later, 800));
      await writer.query("commit");
      await writer.end();
      const ended = await moved;
      const { rows } = await projects.to.admin.query(
        "select rule from public.token_alert_rules where user_id = $1",
        [id],
      );
      await projects.drop();
      return { ended, rules: rows.length };
    };
    expect(await tries()).toEqual({ ended: "moved", rules: 1 });
    expect(await tries("moves-overtake-writers")).not.toEqual({ ended: "moved", rules: 1 });
  });
});

describe("who can be moved", () => {
  let projects: Projects;
  beforeAll(async () => {
    projects = await createProjects();
  });
  afterAll(() => projects.drop());

  test("nobody without the rest of their team, those who have left it too", async () => {
    const tries = async ({ from, to }: Pick<Projects, "from" | "to">) => {
      const payer = await spender(from);
      const member = await createUser(from);
      await call(from, "add_token_team_member", { p_user_id: payer, p_member_id: member });
      await spend(from, member, 5, "of-the-team");
      await call(from, "remove_token_team_member", { p_user_id: payer, p_member_id: member });
      const alone = await refusal(
        from.admin.query("select tokenbook.begin_move(gen_random_uuid(), array[$1::uuid], 'eu-2')", [member]),
      );
      if (alone !== "answered") {
        await moveUser({ from, to }, member); // the test's own moves everybody
        expect(await spend(to, member, 5, "of-the-team")).toMatchObject({ replayed: true });
        expect(await refusal(spend(from, payer, 5, "next"))).toMatch(/^account_moved/);
      }
      return alone;
    };
    expect(await tries(projects)).toBe('invalid_move {"rule": "everybody of a team together"}');
    for (const mutant of ["moves-of-half-a-team", "members-move-alone"]) {
      const mutated = await createProjects(mutant);
      expect(await tries(mutated), mutant).toBe("answered");
      await mutated.drop();
    }
  });

  test("nobody, as long as there is a table of users that the move does not know", async () => {
    const tries = async ({ from }: Pick<Projects, "from">) => {
      const id = await spender(from);
      await from.admin.query("create table tokenbook.notes (user_id uuid, note text)");
      const said = await refusal(
        from.admin.query("select tokenbook.begin_move(gen_random_uuid(), array[$1::uuid], 'eu-2')", [id]),
      );
      await from.admin.query("drop table tokenbook.notes");
      return said;
    };
    expect(await tries(projects)).toContain("not so tokenbook.notes");
    const mutated = await createProjects("moves-forget-new-tables");
    expect(await tries(mutated)).toBe("answered");
    await mutated.drop();
  });

  test("nobody who has books there", async () => {
    const tries = async ({ from, to }: Projects) => {
      const id = await spender(from);
      await to.admin.query(
        "insert into auth.users (id, aud, role, email) values ($1, 'authenticated', 'authenticated', $2)",
        [id, `${id}@example.com`],
      );
      await grant(to, id, 5, { key: "there" });
      const said = await refusal(moveUser({ from, to }, id));
      return { said, spent: await refusal(spend(from, id, 1, "still-here")) };
    };
    const rule = 'invalid_move {"rule": "users who have no books there"}';
    expect(await tries(projects)).toEqual({ said: rule, spent: "answered" });
    for (const mutant of ["moves-replace-books", "moves-ask-for-room-too-late"]) {
      const mutated = await createProjects(mutant);
      expect(await tries(mutated), mutant).not.toEqual({ said: rule, spent: "answered" });
      await mutated.drop();
    }
  });

  test("a frozen user, who is frozen there", async () => {
    const id = await spender(projects.from);
    await call(projects.from, "set_token_account_state", {
      p_user_id: id,
      p_state: "frozen",
      p_reason: "chargebacks",
    });
    await moveUser(projects, id);
    expect(await refusal(spend(projects.to, id, 1, "frozen"))).toMatch(/^account_frozen/);
  });

  test("a user who was moved, back again: what they did there comes with them", async () => {
    const id = await spender(projects.from);
    await moveUser(projects, id);
    await spend(projects.to, id, 60, "there");
    await moveUser({ from: projects.to, to: projects.from }, id, { place: "home" });
    expect(await spend(projects.from, id, 60, "there")).toMatchObject({ replayed: true });
    expect(await spend(projects.from, id, 60, "here-again")).toMatchObject({ tokens_remaining: 840 });
    expect(await refusal(spend(projects.to, id, 60, "there"))).toBe('account_moved {"moved_to": "home"}');
    await expectCleanBooks(projects.from);
    await expectCleanBooks(projects.to);
  });

  test("nobody back whose past is another than it was, and their books stay in use", async () => {
    const tries = async ({ from, to }: Pick<Projects, "from" | "to">) => {
      const id = await spender(from);
      await moveUser({ from, to }, id);
      await to.admin.query(
        "alter table public.token_transactions disable trigger token_transactions_keep_append_only; " +
          `update public.token_transactions set reason = 'never so' where user_id = '${id}' and id = 1; ` +
          "alter table public.token_transactions enable trigger token_transactions_keep_append_only",
      );
      const said = await refusal(moveUser({ from: to, to: from }, id, { place: "home" }));
      return { said, spent: await refusal(spend(to, id, 1, "still-here")) };
    };
    const rule = 'invalid_move {"rule": "the continuation of what was there before"}';
    expect(await tries(projects)).toEqual({ said: rule, spent: "answered" });
    const mutated = await createProjects("moves-bring-another-past");
    expect((await tries(mutated)).said).toBe("answered");
    await mutated.drop();
  });

  test("nobody of whom somebody else has an identity or a provider's payment there", async () => {
    const tries = async ({ from, to }: Pick<Projects, "from" | "to">, there: string[]) => {
      const id = await spender(from);
      const other = await spender(to);
      const has = async (db: Database, user: string) => {
        const subject = { issuer: "https://sign-ins.example.com", id: user === id ? "a" : there[0] };
        await db.admin.query(
          "insert into tokenbook.subjects (issuer, subject, user_id) values ($1, $2, $3)",
          [subject.issuer, subject.id, user],
        );
        await call(db, "record_token_payment_event", {
          p_provider: "stripe",
          p_event_id: "evt-1",
          p_event_type: "paid",
          p_provider_payment_id: user === id ? "pi-1" : there[1],
          p_facts: told({
            kind: "paid",
            user_id: user,
            plan_type: "professional",
            amount_cents: 3900,
            currency: "usd",
          }),
        });
      };
      await has(from, id);
      await has(to, other);
      const said = await refusal(moveUser({ from, to }, id));
      return { said, spent: await refusal(spend(from, id, 1, "still-here")) };
    };
    for (const [there, found] of [
      [["a", "pi-2"], "tokenbook.subjects (issuer, subject)"],
      [["b", "pi-1"], "tokenbook.provider_payments (provider, provider_payment_id)"],
    ] as const) {
      const both = await createProjects();
      const { said, spent } = await tries(both, [...there]);
      expect(said).toContain("users of whom nobody there has the same");
      expect(said).toContain(found);
      expect(spent).toBe("answered");
      await both.drop();
    }
    const free = await createProjects();
    expect(await tries(free, ["b", "pi-2"])).toMatchObject({ said: "answered" });
    await free.drop();
    const mutated = await createProjects("moves-overlook-taken-keys");
    const { said, spent } = await tries(mutated, ["a", "pi-2"]);
    expect([said.split(" ")[0], spent]).toEqual(["duplicate", "account_moving {}"]);
    await mutated.drop();
  });

  test("nobody into a database that is only read", async () => {
    const id = await spender(projects.from);
    const setting = (change: string) =>
      projects.to.admin.query(
        `do $$ begin execute format('alter database %I ${change}', current_database()); end $$`,
      );
    await setting("set default_transaction_read_only = on");
    const said = await refusal(moveUser(projects, id));
    await setting("reset default_transaction_read_only");
    expect(said).toMatch(/read-only transaction/);
    expect(await refusal(spend(projects.from, id, 1, "still-here"))).toBe("answered");
  });

  test("one of a referred pair alone: both books are right, and the other is rewarded no more", async () => {
    const [referrer, referred] = [await spender(projects.from), await createUser(projects.from)];
    await call(projects.from, "set_token_referral_policy", {
      p_referrer_tokens: 5,
      p_referred_tokens: 7,
      p_rewards_per_referrer: 3,
    });
    const { code } = await call(projects.from, "get_token_referral_code", { p_user_id: referrer });
    await call(projects.from, "claim_token_referral", { p_user_id: referred, p_referral_code: code });
    const event = {
      p_provider: "stripe",
      p_event_id: "evt-referral",
      p_event_type: "paid",
      p_provider_payment_id: "pi-referral",
      p_facts: told({
        kind: "paid",
        user_id: referred,
        plan_type: "professional",
        amount_cents: 3900,
        currency: "usd",
      }),
    };
    await call(projects.from, "record_token_payment_event", event);
    const { rows } = await projects.from.admin.query(
      "select referrer_grant_id from tokenbook.referrals where user_id = $1",
      [referred],
    );
    expect(rows[0].referrer_grant_id).not.toBeNull();
    await moveUser(projects, referred);
    for (const db of [projects.from, projects.to]) {
      expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
    }
    await moveUser(projects, referrer);
    for (const db of [projects.from, projects.to]) {
      expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
    }
  });
});

describe("what was used", () => {
  test("counts once, where it was used, also of a user who comes back", async () => {
    const tries = async ({ from, to }: Projects) => {
      const track = (db: Database, id: string, key: string) =>
        call(db, "track_token_usage", {
          p_user_id: id,
          p_action_type: "chat_conversation",
          p_tokens_used: 3,
          p_idempotency_key: key,
        });
      const uses = async (db: Database) =>
        (await call(db, "get_token_usage_by", { p_bucket: "all", p_for_everyone: true })).rows[0]?.uses;
      const id = await spender(from);
      for (const key of ["one", "two", "three"]) await track(from, id, key);
      await moveUser({ from, to }, id);
      for (const key of ["four", "five"]) await track(to, id, key);
      await moveUser({ from: to, to: from }, id, { place: "home" });
      await track(from, id, "six");
      return [await uses(from), await uses(to)];
    };
    for (const mutant of [undefined, "uses-before-the-move-are-lost"]) {
      const projects = await createProjects(mutant);
      expect(await tries(projects)).toEqual(mutant === undefined ? [4, 2] : [1, 2]);
      await projects.drop();
    }
  });
});

describe("what was sold", () => {
  const deferred = async (db: Database) => {
    for (;;) {
      const said = await call(db, "get_token_revenue", { p_bucket: "all" });
      if (said.totals !== undefined)
        return said.totals[0] ?? { sold_cents: 0, recognised_cents: 0, closing_deferred_cents: 0 };
    }
  };
  const add = (one: Record<string, number>, other: Record<string, number>) =>
    Object.fromEntries(
      ["sold_cents", "recognised_cents", "closing_deferred_cents"].map((name) => [
        name,
        (one[name] ?? 0) + (other[name] ?? 0),
      ]),
    );
  const tries = async ({ from, to }: Projects) => {
    const id = await createUser(from);
    await call(from, "grant_tokens", {
      p_user_id: id,
      p_tokens: 1_000,
      p_grant_type: "purchase",
      p_cost_basis_cents: 5_000,
      p_currency: "usd",
    });
    await spend(from, id, 100, "one");
    await deferred(from);
    await spend(from, id, 100, "not-counted-yet");
    await moveUser({ from, to }, id);
    const [moved, there] = [await deferred(from), await deferred(to)];
    await spend(to, id, 300, "there");
    const [here, later] = [await deferred(from), await deferred(to)];
    return { sum: add(moved, there), here, there, later: add(here, later) };
  };

  test("is counted once over both, and what is deferred is where the tokens are", async () => {
    const projects = await createProjects();
    const seen = await tries(projects);
    expect(seen.sum).toEqual({ sold_cents: 5_000, recognised_cents: 1_000, closing_deferred_cents: 4_000 });
    expect(seen.later).toEqual({ sold_cents: 5_000, recognised_cents: 2_500, closing_deferred_cents: 2_500 });
    expect(seen.here).toMatchObject({ sold_cents: 500, closing_deferred_cents: 0 });
    await projects.drop();
  });

  test.each(["sales-counted-where-they-were", "deferred-stays-behind"])("known bad: %s", async (mutant) => {
    const projects = await createProjects(mutant);
    const seen = await tries(projects);
    const isRight =
      seen.sum["recognised_cents"] === 1_000 &&
      seen.here.closing_deferred_cents === 0 &&
      seen.later["recognised_cents"] === 2_500;
    expect(isRight).toBe(false);
    await projects.drop();
  });
});
