/** Tables of the project's on which each inserted row costs tokens: it pays or fails, in one commit. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createClient } from "@supabase/supabase-js";
import { from as copyFrom } from "pg-copy-streams";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { startApi } from "local-platform/gateway/api";
import { createKeys } from "local-platform/gateway/keys";
import { createTokens, userClaims } from "local-platform/gateway/tokens";
import ws from "ws";
import { about } from "../plans/schedules/schedules.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser } from "../support/roles.ts";
import { connectAsServer } from "../support/storm.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  await makeTables(db);
});
afterAll(() => db.drop());
beforeEach(async () => {
  user = await createUser(db);
  await grant(db, user, 100);
});

/** What an app has: a table on which a row costs 30, and one in which each row says what it costs. */
async function makeTables(of: Database): Promise<void> {
  await of.admin.query(`
    create table public.articles (
      id uuid primary key default gen_random_uuid(), user_id uuid, title text not null, words integer);
    create table public.pictures (
      album text, number integer, owner_id uuid, price integer, primary key (album, number));
    grant select, insert, update, delete on public.articles, public.pictures to authenticated, service_role;
    grant insert on public.articles to anon;
    select tokenbook.charge_tokens_on_insert('articles', 'article_generation', 30);
    select tokenbook.charge_tokens_on_insert(
      'pictures', 'picture', p_user_column => 'owner_id', p_tokens_column => 'price')`);
}

/** How many tokens a user has, and how many articles. */
async function standing(
  whose = user,
  of = db,
): Promise<{ tokens: number; articles: number; entries: number }> {
  const { rows } = await of.admin.query(
    `select (select tokens_remaining::int from public.token_accounts where user_id = $1) as tokens,
            (select count(*)::int from public.articles where user_id = $1) as articles,
            (select count(*)::int from public.token_transactions where user_id = $1 and action_type = 'article_generation') as entries`,
    [whose],
  );
  return rows[0];
}

const article = "insert into public.articles (user_id, title) values ($1, 'One')";
const insert = (sql: string, values: unknown[] = [user], who = user, of = db) =>
  asUser(of, who, (client) => client.query(sql, values));

test("a row is paid for by its user, and the entry says which row", async () => {
  await insert(article);

  expect(await standing()).toEqual({ tokens: 70, articles: 1, entries: 1 });
  const { rows } = await db.admin.query(
    `select t.tokens::int, t.actor_role, t.actor_id, t.metadata, t.reason, a.id
       from public.articles a, public.token_transactions t
      where a.user_id = $1 and t.user_id = $1 and t.entry_type = 'deduction'`,
    [user],
  );
  expect(rows[0]).toMatchObject({
    tokens: -30,
    actor_role: "user",
    actor_id: user,
    reason: "article_generation",
    metadata: { table: "public.articles", row: { id: rows[0].id } },
  });
  await expectCleanBooks(db);
});

test("of several rows each pays, or none is there", async () => {
  const several = (count: number) =>
    insert("insert into public.articles (user_id, title) select $1, n::text from generate_series(1, $2) n", [
      user,
      count,
    ]);
  await several(2);
  expect(await standing()).toEqual({ tokens: 40, articles: 2, entries: 2 });

  await expect(several(2)).rejects.toMatchObject({
    code: "PT402",
    message: "insufficient_balance",
    detail: JSON.stringify({ required: 30, available: 10 }).replaceAll(":", ": ").replaceAll(",", ", "),
  });
  expect(await standing()).toEqual({ tokens: 40, articles: 2, entries: 2 });
});

test("what is undone is not paid for: a rollback, a savepoint, a row that breaks a rule", async () => {
  await asUser(db, user, async (client) => {
    await client.query("savepoint before");
    await client.query(article, [user]);
    await client.query("rollback to before");
  });
  await expect(
    insert("insert into public.articles (user_id, title) values ($1, 'Good'), ($1, null)"),
  ).rejects.toMatchObject({ code: "23502" });

  expect(await standing()).toEqual({ tokens: 100, articles: 0, entries: 0 });
});

test("a row that is there already pays nothing, whatever ON CONFLICT does; one that was deleted is a new one", async () => {
  const id = "00000000-0000-4000-8000-0000000000aa";
  const again = "insert into public.articles (id, user_id, title) values ($2, $1, 'Again') on conflict";
  await insert(`${again} (id) do nothing`, [user, id]);
  await insert(`${again} (id) do nothing`, [user, id]);
  await insert(`${again} (id) do update set title = 'Changed'`, [user, id]);
  await insert("update public.articles set title = 'Other' where user_id = $1");
  await insert(
    "merge into public.articles a using (select 1) s on a.user_id = $1 when matched then update set title = 'Merged' when not matched then insert (user_id, title) values ($1, 'New')",
  );
  expect(await standing()).toEqual({ tokens: 70, articles: 1, entries: 1 });

  await insert("delete from public.articles where user_id = $1");
  await insert(`${again} (id) do nothing`, [user, id]);
  expect(await standing()).toEqual({ tokens: 40, articles: 1, entries: 2 });
});

test("COPY pays for each row", async () => {
  const copy = async (rows: number) => {
    const client = await connectAsServer(db);
    try {
      const stream = client.query(copyFrom("copy public.articles (user_id, title) from stdin"));
      await pipeline(Readable.from(`${user}\tCopied\n`.repeat(rows)), stream);
    } finally {
      await client.end();
    }
  };
  await copy(2);
  await expect(copy(2)).rejects.toMatchObject({ message: "insufficient_balance" });

  expect(await standing()).toEqual({ tokens: 40, articles: 2, entries: 2 });
});

test("the column says how many: 0 is free, and less than nothing is refused", async () => {
  const picture = "insert into public.pictures values ('Summer', $2, $1, $3)";
  await insert(picture, [user, 1, 25]);
  await insert(picture, [user, 2, 0]);
  for (const price of [-1, null])
    await expect(insert(picture, [user, 3, price])).rejects.toMatchObject({ message: "invalid_amount" });

  expect((await standing()).tokens).toBe(75);
  const { rows } = await db.admin.query(
    "select metadata from public.token_transactions where user_id = $1 and action_type = 'picture'",
    [user],
  );
  expect(rows).toEqual([{ metadata: { table: "public.pictures", row: { album: "Summer", number: 1 } } }]);
});

test("without a number it is what the action costs, from then on at the cost of then", async () => {
  const cost = (tokens: number | null) =>
    asService(db, (client) =>
      client.query("select public.set_token_action_cost('translation', $1, 'a test')", [
        tokens === null ? null : { min_tokens: tokens, max_tokens: tokens },
      ]),
    );
  await db.admin.query("create table public.translations (id serial primary key, user_id uuid)");
  await db.admin.query(
    "grant insert on public.translations to service_role; grant usage on sequence public.translations_id_seq to service_role",
  );
  const charge = () =>
    db.admin.query("select tokenbook.charge_tokens_on_insert('translations', 'translation')");
  await expect(charge()).rejects.toMatchObject({ message: "invalid_charged_table" });
  await cost(12);
  await charge();
  const translate = () =>
    asService(db, (client) => client.query("insert into public.translations (user_id) values ($1)", [user]));

  await translate();
  await cost(20);
  await translate();
  expect((await standing()).tokens).toBe(68);
  await cost(null);
  await expect(translate()).rejects.toMatchObject({ message: "invalid_usage" });
});

test("a frozen or capped user inserts nothing; a member pays from their payer's account", async () => {
  const member = await createUser(db);
  await about(db, user)("add_token_team_member", { p_member_id: member });
  await insert(article, [member], member);
  expect((await standing()).tokens).toBe(70);

  await about(db, user)("set_token_spend_cap", { p_window: "day", p_tokens: 50 });
  await expect(insert(article)).rejects.toMatchObject({ code: "PT429", message: "spend_cap_reached" });
  await about(db, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
  await expect(insert(article)).rejects.toMatchObject({ code: "PT403", message: "account_frozen" });
  expect((await standing()).tokens).toBe(70);
});

/** What comes of rows of a user that others insert, and of rows of nobody: tokens of the user, and who was refused. */
async function ofOthers(of: Database): Promise<Record<string, string | number>> {
  const whose = await createUser(of);
  await grant(of, whose, 100);
  const other = await createUser(of);
  await grant(of, other, 100);
  const admin = await createUser(of, { admin: true });
  const said: Record<string, string | number> = {};
  const note = async (who: string, work: Promise<unknown>) => {
    said[who] = await work.then(
      () => "inserted",
      (error: { message: string }) => error.message,
    );
  };
  await note("another", insert(article, [whose], other, of));
  await note(
    "nobody",
    asAnon(of, (client) => client.query(article, [whose])),
  );
  await note("nobody's by a user", insert(article, [null], other, of));
  await note(
    "nobody's by the server",
    asService(of, (client) => client.query(article, [null])),
  );
  await note(
    "admin",
    asAdmin(of, admin, (client) => client.query(article, [whose])),
  );
  await note(
    "server",
    asService(of, (client) => client.query(article, [whose])),
  );
  await note(
    "beyond",
    asService(of, (client) => client.query(article.replace("$1", "$1::uuid"), [other])),
  );
  await note(
    "less than nothing",
    asService(of, (client) => client.query("insert into public.pictures values ('x', 1, $1, -1)", [whose])),
  );
  for (let rows = 0; rows < 3; rows++)
    await note(
      "too many",
      asService(of, (client) => client.query(article, [other])),
    );
  return { ...said, left: (await standing(whose, of)).tokens };
}

const asItIs = {
  another: "forbidden",
  nobody: "not_authenticated",
  "nobody's by a user": "forbidden",
  "nobody's by the server": "inserted",
  admin: "inserted",
  server: "inserted",
  beyond: "inserted",
  "less than nothing": "invalid_amount",
  "too many": "insufficient_balance",
  left: 40,
};

test("only admins and the server insert rows that another user pays for; the server's rows without a user are free", async () => {
  expect(await ofOthers(db)).toEqual(asItIs);
});

test.each([
  ["rows-are-charged-to-anybody", "another"],
  ["rows-that-nobody-paid-for", "too many"],
  ["rows-of-negative-price", "less than nothing"],
  ["rows-of-nobody-are-refused", "nobody's by the server"],
])("that trial sees %s", { tags: ["proof"] }, async (mutant, who) => {
  const of = await createDatabase();
  await makeTables(of);
  await applyMutant(of, mutant);
  expect((await ofOthers(of))[who]).not.toBe(asItIs[who as keyof typeof asItIs]);
  await of.drop();
});

/** So many sessions insert rows of one user at once: rows that came to be, and what the user has. */
async function storm(of: Database): Promise<{ rows: number; left: number }> {
  const whose = await createUser(of);
  await grant(of, whose, 100);
  const clients = await Promise.all(Array.from({ length: 12 }, () => connectAsServer(of)));
  await Promise.all(clients.map((client) => client.query(article, [whose]).catch(() => undefined)));
  await Promise.all(clients.map((client) => client.end()));
  const { tokens, articles } = await standing(whose, of);
  return { rows: articles, left: tokens };
}

test("of twelve who insert at once as many are let in as there are tokens for", async () => {
  const outcome = await storm(db);
  console.log(`inserting=12 rows=${outcome.rows} left=${outcome.left}`);
  expect(outcome).toEqual({ rows: 3, left: 10 });
  await expectCleanBooks(db);
});

test("that storm sees rows that nobody paid for", { tags: ["proof"] }, async () => {
  const of = await createDatabase();
  await makeTables(of);
  await applyMutant(of, "rows-that-nobody-paid-for");
  expect((await storm(of)).rows).toBe(12);
  await of.drop();
});

test.each([
  ["'public.a_view', 'x', 1", "p_table"],
  ["'public.parted', 'x', 1", "p_table"],
  ["'public.parted_1', 'x', 1", "p_table"],
  ["'public.token_accounts', 'x', 1", "p_table"],
  ["'public.keyless', 'x', 1", "p_table"],
  ["'public.articles', 'x', 1, 'title'", "p_user_column"],
  ["'public.articles', 'x', 1, 'author_id'", "p_user_column"],
  ["'public.articles', 'x', null, 'user_id', 'title'", "p_tokens_column"],
  ["'public.articles', 'x', 1, 'user_id', 'words'", "p_tokens_column"],
  ["'public.articles', 'x'", "p_tokens"],
])("what cannot be charged for is refused: %s", async (args, field) => {
  await db.admin.query(`
    create or replace view public.a_view as select * from public.articles;
    create table if not exists public.parted (id int primary key, user_id uuid) partition by list (id);
    create table if not exists public.parted_1 partition of public.parted default;
    create table if not exists public.keyless (user_id uuid)`);
  await expect(db.admin.query(`select tokenbook.charge_tokens_on_insert(${args})`)).rejects.toMatchObject({
    code: "PT400",
    message: "invalid_charged_table",
    detail: expect.stringContaining(`"field": "${field}"`),
  });
});

test("it is the owner's alone, changes when it is said again, and stops", async () => {
  for (const call of [
    "select tokenbook.charge_tokens_on_insert('public.articles', 'x', 1)",
    "select tokenbook.stop_charging_tokens_on_insert('public.articles')",
  ]) {
    await expect(asService(db, (client) => client.query(call))).rejects.toMatchObject({ code: "42501" });
    await expect(insert(call, [])).rejects.toMatchObject({ code: "42501" });
  }
  const of = await createDatabase();
  await makeTables(of);
  const whose = await createUser(of);
  await grant(of, whose, 100);
  await of.admin.query(
    "select tokenbook.charge_tokens_on_insert('public.articles', 'article_generation', 5)",
  );
  await insert(article, [whose], whose, of);
  expect(await standing(whose, of)).toEqual({ tokens: 95, articles: 1, entries: 1 });

  const stop = () =>
    of.admin
      .query("select tokenbook.stop_charging_tokens_on_insert('public.articles') as it")
      .then((r) => r.rows[0].it);
  expect([await stop(), await stop()]).toEqual([true, false]);
  await insert(article, [whose], whose, of);
  expect(await standing(whose, of)).toEqual({ tokens: 95, articles: 2, entries: 1 });
  await of.drop();
});

test("the doctor does not mind the trigger, and says when it is disabled", async () => {
  const triggers = async () =>
    (
      await db.admin.query(
        "select status, finding, remedy from public.check_token_installation() where subject = 'triggers'",
      )
    ).rows;
  expect(await triggers()).toMatchObject([{ status: "ok" }]);
  await db.admin.query("alter table public.pictures disable trigger tokenbook_charge");
  expect(await triggers()).toEqual([
    {
      status: "fault",
      finding:
        "trigger tokenbook_charge on public.pictures is disabled: what is inserted there is not paid for",
      remedy: "alter table public.pictures enable trigger tokenbook_charge",
    },
  ]);
  await db.admin.query("alter table public.pictures enable trigger tokenbook_charge");
});

test("through the API: an array pays for each row, and what cannot be paid for is 402", async () => {
  const keys = await createKeys();
  const api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
  const { sign } = await createTokens(keys);
  const token = await sign(userClaims(api.url, user));
  const supabase = createClient(api.url, keys.publishableKey, {
    realtime: { transport: ws as never }, // Node 20 has no WebSocket
    global: { headers: { authorization: `Bearer ${token}` } },
  });
  const rows = (count: number) => Array.from({ length: count }, () => ({ user_id: user, title: "One" }));

  expect(await supabase.from("articles").insert(rows(2))).toMatchObject({ status: 201, error: null });
  expect(await supabase.from("articles").insert(rows(2))).toMatchObject({
    status: 402,
    error: { code: "PT402", message: "insufficient_balance" },
  });
  expect(await standing()).toEqual({ tokens: 40, articles: 2, entries: 2 });
  await api.close();
});
