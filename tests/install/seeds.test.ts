// @module-tag proof
/** The three databases of 2025, in each state that they were in: what each has, and what is in the books after it. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase } from "../support/database.ts";
import { run } from "../support/command.ts";
import { createUser } from "../support/roles.ts";
import { projectRoot } from "../../scripts/project.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tokenbook-seeds-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A state: what is done for three users before the import, and how it is imported. `$1` to `$3` are the users. */
interface State {
  sql?: string;
  dump?: string;
}

const balances =
  "create table public.token_balances_of_2025 (user_id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, granted_at timestamptz, expires_at timestamptz);";
const grants = (left: (granted: number, isOver: boolean) => string) => `${balances}
  insert into public.token_balances_of_2025 values
    ($1, 'trial', 100000, ${left(100_000, true)}, now() - interval '80 days', now() - interval '24 days'),
    ($1, '28day', 500000, ${left(500_000, false)}, now() - interval '9 days', now() + interval '81 days'),
    ($2, 'annual', 5000000, ${left(5_000_000, false)}, now() - interval '9 days', now() + interval '356 days'),
    ($3, 'purchase', 100000, ${left(100_000, false)}, now() - interval '9 days', null)`;
const counters = (values: string) => `drop table public.user_profiles cascade;
  create table public.user_profiles (id uuid primary key default gen_random_uuid(), user_id uuid, vibe_assistant_tokens_remaining bigint, vibe_assistant_tokens_used bigint, vibe_assistant_total_cost numeric(10, 4));
  insert into public.user_profiles (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost) values ${values}`;
const mysql = (users: string, subscriptions: string) => `
CREATE TABLE \`users\` (
  \`id\` int NOT NULL,
  \`email\` varchar(255) NOT NULL,
  \`tokens_remaining\` int DEFAULT NULL
) ENGINE=InnoDB;
INSERT INTO \`users\` VALUES ${users};
CREATE TABLE \`user_subscriptions\` (
  \`id\` int NOT NULL,
  \`user_id\` int NOT NULL,
  \`tokens_limit\` int DEFAULT '10000',
  \`is_active\` tinyint(1) DEFAULT '1'
) ENGINE=InnoDB;
INSERT INTO \`user_subscriptions\` VALUES ${subscriptions};
`;

const states: Record<string, Record<string, State>> = {
  token_balances: {
    "empty: the first migration looked for the wrong sign": { sql: balances },
    "below zero: all use was taken from each grant": {
      sql: grants((granted, isOver) =>
        isOver ? "0" : granted === 500_000 ? "-363843" : String(granted - 40_000),
      ),
    },
    "after the hotfix: what lives is whole, what is over is 0": {
      sql: grants((granted, isOver) => (isOver ? "0" : String(granted))),
    },
    "in use since: spent oldest first": {
      sql: grants((granted, isOver) => (isOver ? "0" : String(granted - 1_234))),
    },
  },
  user_profiles: {
    "as given: 5,000,000 each": {
      sql: counters("($1, 5000000, 0, 0), ($2, 5000000, 0, 0), ($3, 5000000, 0, 0)"),
    },
    "in use": { sql: counters("($1, 4990000, 10000, 0.12), ($2, 0, 5000000, 60), ($3, 5000000, 0, 0)") },
    "spent past zero: a debt": {
      sql: counters("($1, -300, 5000300, 60.1), ($2, 40, 4999960, 60), ($3, 0, 0, 0)"),
    },
    "NULL, and two profiles of one user": {
      sql: counters("($1, null, null, null), ($2, 90, 10, 0.1), ($2, 40, 10, 0.1), ($3, 7, 0, 0)"),
    },
  },
  "mysql-dump": {
    "signed up: tokens_remaining stayed NULL": {
      dump: mysql(
        "(1,'u1@example.com',NULL),(2,'u2@example.com',NULL),(3,'u3@example.com',NULL)",
        "(1,1,10000,1),(2,2,10000,1),(3,3,10000,1)",
      ),
    },
    "upgraded: the limit rose, the balance did not": {
      dump: mysql(
        "(1,'u1@example.com',NULL),(2,'u2@example.com',9700),(3,'u3@example.com',10000)",
        "(1,1,2000000,1),(2,2,2000000,1),(3,3,10000,1)",
      ),
    },
    "mended: both are set together": {
      dump: mysql(
        "(1,'u1@example.com',2000000),(2,'u2@example.com',9700),(3,'u3@example.com',0)",
        "(1,1,2000000,1),(2,2,10000,1),(3,3,10000,1)",
      ),
    },
    "cancelled: the subscription is no more in force": {
      dump: mysql(
        "(1,'u1@example.com',NULL),(2,'u2@example.com',9700),(3,'u3@example.com',NULL)",
        "(1,1,2000000,0),(2,2,2000000,0),(3,3,10000,1)",
      ),
    },
  },
};

const number = new Intl.NumberFormat("en-US").format;
const rows: string[] = [];
afterAll(() => console.log(rows.join("\n")));

const each = Object.entries(states).flatMap(([from, some]) =>
  Object.entries(some).map(([state, how]) => [from, state, how] as const),
);

test.each(each)("%s, %s", { timeout: 60_000 }, async (from, state, { sql, dump }) => {
  const db = await createDatabase();
  try {
    const users: string[] = [];
    for (const nth of [1, 2, 3]) users.push(await createUser(db, { email: `u${nth}@example.com` }));
    await db.admin.query(
      (sql ?? "select").replaceAll(/\$([123])/g, (_, nth: string) => `'${users[Number(nth) - 1]}'`),
    );
    const file = join(folder, "dump.sql");
    await writeFile(file, dump ?? "");
    const source = from === "token_balances" ? "token_balances=public.token_balances_of_2025" : from;
    const imports = async (...more: string[]) => {
      const args = [
        "--from",
        source,
        ...(dump === undefined ? [] : ["--file", file]),
        "--json",
        "--db-url",
        db.url(),
      ];
      const said = await run("import", [...args, ...more]);
      // nobody is in an empty table
      expect(said).toMatchObject({ status: state.startsWith("empty") ? 1 : 0 });
      return JSON.parse(said.stdout);
    };

    const dry = await imports();
    const booked = await imports("--book", "--checksum", dry.checksum);
    const again = await imports("--book");

    const { rows: sums } = await db.admin.query(
      "select coalesce(sum(tokens_remaining), 0)::float8 as tokens, coalesce(sum(tokens_owed), 0)::float8 as owed from public.token_accounts",
    );
    const { tokens, owed } = sums[0];
    expect([booked.tokens, booked.owed]).toEqual([tokens, owed]);
    expect([again.taken, again.done_before, again.tokens_from_it_after]).toEqual([
      0,
      booked.taken,
      booked.tokens_from_it_after,
    ]);
    const left = booked.left_out.map(({ why }: { why: string }) => /^[^,:]*/.exec(why)![0]);
    const row = `| \`${from}\` | ${state} | ${booked.rows} | ${booked.sum_in_source} | ${number(tokens)} | ${number(owed)} | ${booked.left_out.length === 0 ? "–" : `${left.length}: ${[...new Set(left)].join("; ")}`} |`;
    rows.push(row);
    await expectCleanBooks(db);
    expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
    expect(await readFile(join(projectRoot, "docs/guides/importing.md"), "utf8")).toContain(row);
  } finally {
    await db.drop();
  }
});
