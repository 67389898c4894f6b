import { afterAll, beforeAll, expect, test } from "vitest";
import type { Client } from "pg";
import { inlinedFunctions } from "../../../scripts/schema/lints.ts";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsOwner } from "../../support/storm.ts";

const GRANTS = 10_000; // open at once
/** With ties: the id decides among some of them. */
const grantMany = async (where: Database, to: string): Promise<void> => {
  await grant(where, to, 1);
  await where.admin.query(
    `insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at)
     select $1, 'purchase', 10, 10, n % 3, now() - n % 100 * interval '1 second', now() + (1 + n * 7919 % 50) * interval '1 hour'
       from generate_series(2, $2::integer) n`,
    [to, GRANTS],
  );
};

let db: Database;
let user: string;
let client: Client;
beforeAll(async () => {
  db = await createDatabase();
  user = await createUser(db);
  await grantMany(db, user);
  await db.admin.query("analyze public.token_balances");
  client = await connectAsOwner(db);
  await client.query("set plan_cache_mode = force_generic_plan");
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

interface Plan {
  "Node Type": string;
  "Function Name"?: string;
  "Index Name"?: string;
  "Actual Rows"?: number;
  "Actual Loops"?: number;
  Plans?: Plan[];
}
const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

/** The nodes of a statement's generic plan, as plpgsql would run it. */
async function planOf(sql: string, order: string): Promise<Plan[]> {
  await client.query(`prepare asked (uuid, timestamptz, boolean) as ${sql}`);
  try {
    const { rows } = await client.query(
      `explain (analyze, costs off, timing off, summary off, format json) execute asked ('${user}', clock_timestamp(), ${String(order === "expiring_first")})`,
    );
    return nodes(rows[0]["QUERY PLAN"][0].Plan);
  } finally {
    await client.query("deallocate asked");
  }
}

for (const [order, index] of [
  ["fifo", "token_balances_burn_order_idx"],
  ["expiring_first", "token_balances_expiring_first_idx"],
] as const) {
  test(`${order}: of ${GRANTS} open grants, taking the first reads one entry of its index`, async () => {
    const plan = await planOf("select g.id from tokenbook.open_grants_in_order($1, $2, $3) g limit 1", order);

    const read = plan.filter((node) => (node["Actual Rows"] ?? 0) > 0 && node["Index Name"] !== undefined);
    expect(read.map((node) => [node["Index Name"], node["Actual Rows"]])).toEqual([[index, 1]]);
    expect(plan.filter((node) => ["Sort", "Function Scan"].includes(node["Node Type"]))).toEqual([]);
  });

  test(`${order}: and taking some through a cursor stops at the last of them`, async () => {
    await client.query("select public.set_token_burn_order($1)", [order]);
    const { rows } = await client.query(
      `with before as materialized (select pg_stat_get_xact_tuples_returned('public.${index}'::regclass) as n),
            chosen as materialized (
              select c.* from before cross join tokenbook.choose_grants($1, 35, clock_timestamp()) c)
       select cardinality(c.grant_ids) as grants, pg_stat_get_xact_tuples_returned('public.${index}'::regclass) - b.n as entries
         from before b cross join chosen c`,
      [user],
    );

    expect(rows).toEqual([{ grants: 4, entries: "4" }]);
  });
}

/** How many grants an index has, and how many of them stand elsewhere than their key says. */
const elsewhere = async (where: Database, of: string): Promise<unknown[]> => {
  const { rows } = await where.admin.query(
    `select o.expiring_first, count(*)::int as grants, count(*) filter (where a.nth <> a.by_key)::int as elsewhere
       from (values (false), (true)) as o (expiring_first)
      cross join lateral (
        select g.nth, row_number() over (
                 order by tokenbook.burn_key(g.priority, g.granted_at, g.expires_at, g.id, o.expiring_first)) as by_key
          from rows from (tokenbook.open_grants_in_order($1, clock_timestamp(), o.expiring_first)) with ordinality
               as g (grant_ctid, id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, pays_for, nth)) a
      group by 1 order by 1`,
    [of],
  );
  return rows;
};

test("the order of the index is the order of the key, in both", async () => {
  expect(await elsewhere(db, user)).toEqual([
    { expiring_first: false, grants: GRANTS, elsewhere: 0 },
    { expiring_first: true, grants: GRANTS, elsewhere: 0 },
  ]);
});

test(
  "the test sees it: where chance decides a tie, grants stand elsewhere",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "ties-by-chance");
    const someone = await createUser(broken);
    await grantMany(broken, someone);
    const found = await elsewhere(broken, someone);
    await broken.drop();

    expect(found).toHaveLength(2);
    expect(found).not.toContainEqual(expect.objectContaining({ elsewhere: 0 }));
  },
);

test("the key is written into the statement too: no call is left in its plan", async () => {
  const { rows } = await client.query(
    `explain (verbose, costs off)
       select b.id from public.token_balances b
        order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, $1)`.replace(
      "$1",
      "b.is_open",
    ),
  );

  expect(rows.map((row) => String(row["QUERY PLAN"])).join("\n")).not.toContain("burn_key(");
});

test("no client may call a function without search_path, and each function that calls one has set its own", async () => {
  const { rows: callable } = await client.query(
    `select f.name, r.role from unnest($1::text[]) f (name)
      cross join unnest(array['public', 'anon', 'authenticated', 'service_role']) r (role)
      where has_function_privilege(r.role, f.name::regproc, 'execute')`,
    [inlinedFunctions],
  );
  const { rows: callers } = await client.query(
    `select p.proname, coalesce(array_to_string(p.proconfig, ','), '') ~ 'search_path=' as is_set
       from pg_proc p
      where p.pronamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)
        and format('tokenbook.%s', p.proname) <> all ($1)
        and exists (select from unnest($1::text[]) f (name) where p.prosrc like '%' || f.name || '(%')`,
    [inlinedFunctions],
  );
  const { rows: views } = await client.query(
    `select v.viewname from pg_views v
      where v.schemaname in ('public', 'tokenbook')
        and exists (select from unnest($1::text[]) f (name) where v.definition like '%' || f.name || '(%')`,
    [inlinedFunctions],
  );

  expect(callable).toEqual([]);
  expect(views).toEqual([]);
  expect(callers.filter((caller) => !caller.is_set)).toEqual([]);
  expect(callers.map((caller) => caller.proname)).toEqual(
    expect.arrayContaining(["choose_grants", "spend_tokens", "replay", "live_difference"]),
  );
});

test(
  "the test sees it: with a search_path of its own, all open grants are read for the first",
  { tags: ["proof"] },
  async () => {
    await client.query("begin");
    await client.query(
      "alter function tokenbook.open_grants_fifo(uuid, timestamptz) set search_path = pg_catalog, pg_temp",
    );
    const plan = await planOf(
      "select g.id from tokenbook.open_grants_in_order($1, $2, $3) g limit 1",
      "fifo",
    );
    await client.query("rollback");

    expect(plan.map((node) => node["Node Type"])).toContain("Function Scan");
  },
);

test(
  "the test sees it: without its indexes, all open grants are sorted for the first",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "no-index-of-open-grants");
    const owner = await connectAsOwner(broken);
    const { rows } = await owner.query(
      "explain (costs off) select g.id from tokenbook.open_grants_in_order(gen_random_uuid(), clock_timestamp()::timestamptz, false) g limit 1",
    );
    await owner.end();
    await broken.drop();

    expect(JSON.stringify(rows)).not.toContain("burn_order_idx");
  },
);
