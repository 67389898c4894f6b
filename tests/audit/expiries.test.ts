/** list_token_expiries: what is about to run out, by day. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMutant } from "../support/mutants.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

interface Day {
  day: string;
  tokens: number;
  grants: number;
  users: number;
}

let db: Database;
let users: string[];
beforeAll(async () => {
  db = await createDatabase();
  users = await booksIn(db);
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const query =
  "select day::text, tokens::int, grants::int, users::int from public.list_token_expiries($1, $2, $3)";
const list = (
  of: Database,
  to: Date | null = null,
  after: string | null = null,
  until: string | null = null,
) => asService(of, async (client) => (await client.query<Day>(query, [to, after, until])).rows);
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000);
const dayOf = (moment: Date) => moment.toISOString().slice(0, 10);

/** Grants that end in 2, 2, 2, 10 and 40 days, one of them partly spent; one that has ended, one without end, one used up. */
async function booksIn(of: Database): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push(await createUser(of));
  const [one, two, three] = ids.toSorted() as [string, string, string];
  const give = (user: string, tokens: number, days: number) =>
    grant(of, user, tokens, { expires_at: inDays(days).toISOString() });
  await give(three, 900, 0.5);
  await letTimePass(of, three, 1); // ended, and booked by nobody yet
  await give(one, 100, 2);
  await asService(of, (client) =>
    client.query("select public.deduct_tokens_with_fifo(p_user_id => $1, p_tokens_to_deduct => 30)", [one]),
  );
  await give(one, 5, 2);
  await give(two, 20, 2);
  await give(two, 200, 10);
  await give(two, 7, 40);
  await grant(of, two, 1_000);
  return [one, two, three];
}

const expected = () => [
  { day: dayOf(inDays(2)), tokens: 95, grants: 3, users: 2 },
  { day: dayOf(inDays(10)), tokens: 200, grants: 1, users: 1 },
];

test("says what is there now and will have ended by then, by day", async () => {
  expect(await list(db)).toEqual(expected());
  expect(await list(db, inDays(60))).toEqual([
    ...expected(),
    { day: dayOf(inDays(40)), tokens: 7, grants: 1, users: 1 },
  ]);
  expect(await list(db, inDays(1))).toEqual([]);
});

test("the pieces come to the whole", async () => {
  const [one, two] = users as [string, string];
  const pieces = [
    ...(await list(db, null, null, one)),
    ...(await list(db, null, one, two)),
    ...(await list(db, null, two)),
  ];
  expect(pieces.map(({ tokens, users: many }) => [tokens, many])).toEqual([
    [75, 1],
    [20, 1],
    [200, 1],
  ]);
});

test.each([[inDays(-1)], [inDays(400)], ["infinity"], ["-infinity"]])("refuses until %s", async (to) => {
  await expect(list(db, to as Date)).rejects.toThrow("invalid_report");
});

test("is for admins and the server", async () => {
  const admin = await createUser(db, { admin: true });
  const asked = "select * from public.list_token_expiries()";
  await expect(asUser(db, users[0]!, (client) => client.query(asked))).rejects.toThrow("forbidden");
  await expect(asAdmin(db, admin, (client) => client.query(asked))).resolves.toMatchObject({ rowCount: 2 });
});

test("the test sees it: expiries-of-what-is-gone", { tags: ["proof"] }, async () => {
  const own = await createDatabase();
  try {
    await applyMutant(own, "expiries-of-what-is-gone");
    await booksIn(own);
    expect(await list(own)).not.toEqual(expected());
  } finally {
    await own.drop();
  }
});
