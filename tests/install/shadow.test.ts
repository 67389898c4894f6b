// @module-tag proof
/** `tokenbook shadow` and `switch`: a counter of the project's beside the books, by the real command. */
import { beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { run } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { expectSoundInstallation } from "../support/installation.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let users: string[];
beforeEach(async () => {
  db = await createDatabase();
  users = await Promise.all(Array.from({ length: 5 }, () => createUser(db)));
  await db.admin.query(`
    create table public.profiles (id uuid primary key, full_name text, credits numeric(12, 3) default 0);
    alter table public.profiles enable row level security;
    create policy "own" on public.profiles for select using (auth.uid() = id);
    create policy "own, written" on public.profiles for update using (auth.uid() = id);
    grant select, update on public.profiles to authenticated, service_role;
    create function public.take_credits(p_user uuid, p_credits numeric) returns numeric
      language sql security definer set search_path = public as
      'update profiles set credits = credits - p_credits where id = p_user returning credits';`);
  await db.admin.query(
    "insert into public.profiles (id, credits) select id, 100 from unnest($1::uuid[]) with ordinality as u (id, n)",
    [users],
  );
  return async () => {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    const discrepancies = await db.admin.query("select * from public.find_token_discrepancies(0)");
    await expectCleanBooks(db);
    await db.drop();
    expect([rows, discrepancies.rows]).toEqual([[], []]);
  };
});

const from = ["--from", "profiles.credits"];
const tokenbook = (name: string, ...args: string[]) => run(name, [...args, "--db-url", db.url()]);
async function json(name: string, ...args: string[]) {
  const said = await tokenbook(name, ...args, "--json");
  expect(said).toMatchObject({ stderr: "" });
  return { status: said.status, ...JSON.parse(said.stdout) };
}
const imported = () => tokenbook("import", ...from, "--times", "10", "--book");
const credits = async (user: string) =>
  Number(
    (await db.admin.query("select credits from public.profiles where id = $1", [user])).rows[0]?.credits,
  );
const books = async (user: string) => {
  const { rows } = await db.admin.query(
    "select tokens_remaining - tokens_owed as net from public.token_accounts where user_id = $1",
    [user],
  );
  return rows[0] && Number(rows[0].net);
};

test("whoever writes the counter, the books follow, and nothing the app sees changes", async () => {
  const [ann, ben, cid, dan, eve] = users as [string, string, string, string, string];
  expect(await tokenbook("shadow", ...from, "--start")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("Nobody's balance was imported"),
  });
  expect(await imported()).toMatchObject({ status: 0 });
  await db.admin.query("update public.profiles set credits = 99.5 where id = $1", [ann]); // between the two
  const compared = await json("shadow", ...from);
  expect(compared).toMatchObject({ status: 1, differing: 1, mode: "none" });
  expect(compared.differences[0]).toMatchObject({
    user: ann,
    counter: "99.5",
    books: 1000,
    difference: 5,
    reasons: ["the counter changed since the import"],
  });
  const started = await json("shadow", ...from, "--start");
  expect(started).toMatchObject({ status: 0, booked: 1, spent: 5, differing: 0 });

  await asUser(db, ann, (client) =>
    client.query("update profiles set credits = credits - 1.25, full_name = 'Ann'"),
  );
  await asService(db, (client) =>
    client.query("update profiles set credits = credits + 20 where id = $1", [ben]),
  );
  await asUser(db, cid, (client) => client.query("select take_credits($1, 104.55)", [cid]));
  await db.admin.query("delete from public.profiles where id = $1", [dan]);
  await asUser(db, eve, (client) => client.query("update profiles set full_name = 'Eve'"));
  const fay = await createUser(db);
  await db.admin.query("insert into public.profiles (id, credits) values ($1, 7)", [fay]);
  await db.admin.query("insert into public.profiles (id, credits) values (gen_random_uuid(), 0)");

  const behind = await json("shadow", "--compare");
  expect(behind).toMatchObject({ status: 0, differing: 0, not_booked: { changes: 5, failed: 0 } });
  expect(await books(ann)).toBe(995);
  const followed = await json("shadow");
  expect(followed).toMatchObject({ status: 0, booked: 5, differing: 0, granted: 270, owed: 45 });
  expect(await Promise.all([ann, ben, cid, dan, eve, fay].map(books))).toEqual([982, 1200, -45, 0, 1000, 70]);
  expect(await json("shadow")).toMatchObject({ booked: 0, not_booked: { changes: 0 } });
  const { transactions } = await asUser(db, ann, (client) => rpc(client, "get_token_history", {}));
  expect(transactions[0]).toMatchObject({
    action_type: "shadow",
    tokens: -13,
    reason: "mirrored from public.profiles.credits",
  });
  await expectSoundInstallation(db);
});
