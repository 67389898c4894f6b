// @module-tag proof
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { migrationUp } from "local-platform/project/supabase-cli";
import { buildFromSchemas } from "../../../scripts/schema/build-from-schemas.ts";
import {
  type Catalog,
  compareCatalogs,
  describeDifference,
} from "../../../packages/tokenbook/src/catalog/catalog.ts";
import { migrationFiles, migrationsFolder } from "../../../scripts/schema/project-files.ts";
import { staleMigrations } from "../../../scripts/schema/generated-migrations.ts";
import { checkSeals, firstUnreleased } from "../../../scripts/schema/seals.ts";
import { catalogOfTheBooks } from "../../migrations/old-projects/legacy/catalog.ts";
import {
  expectedGrants,
  legacyProject,
  loadBeforeCleanup,
} from "../../migrations/old-projects/legacy/project.ts";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { diceFor } from "../../support/dice.ts";
import { createUser } from "../../support/roles.ts";
import { keep, type Scale, type Tried } from "./promise.ts";
import { projectRoot } from "../../../scripts/project.ts";

keep({
  id: "P21",
  promise: "History is sealed, and every version of it, with data, ends in what the schema files say",
  trial:
    "Migrations compared with their seals or with what the schema files make of them, and with bytes of them changed; applied to an empty project and to an old project that stopped after each of them and went on working there, on its old tables or in the books: rows, balances and the catalogue compared with a database built from the schema files",
  run: (scale) => inACopy((root) => tryIt(root, scale)),
  control: {
    variant: "a byte edited; a right revoked and a grant's row deleted by a migration that nobody reviewed",
    run: () =>
      inACopy(async (root) => {
        const [first] = await migrationFiles(root);
        await flip(join(root, first!), 40);
        await writeFile(
          join(root, migrationsFolder, "29990101000000_unreviewed.sql"),
          `revoke select on public.token_accounts from authenticated;
           delete from public.token_balances where id = (select id from public.token_balances limit 1);`,
        );
        const { wrong, ...tried } = await parts(root, "control");
        const found = [wrong.seals, wrong.catalogue, wrong.data];
        return {
          ...tried,
          violations: Math.min(...found.map(({ length }) => length)),
          examples: found.map(([one]) => one ?? "not seen"),
        };
      }),
  },
});

async function inACopy<T>(work: (root: string) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), "tokenbook-history-"));
  try {
    await cp(join(projectRoot, "supabase"), join(root, "supabase"), {
      recursive: true,
      filter: (path) => !path.startsWith(join(projectRoot, "supabase", "functions")),
    });
    return await work(root);
  } finally {
    await rm(root, { recursive: true });
  }
}

async function tryIt(root: string, scale: Scale): Promise<Tried> {
  const { wrong, mix, ...tried } = await parts(root, scale);
  mix["bytes changed, and found"] = await changeBytes(root, scale === "long" ? 60 : 8, wrong.seals);
  const examples = Object.values(wrong).flat();
  return {
    times: tried.times + mix["bytes changed, and found"],
    unit: tried.unit,
    mix,
    violations: examples.length,
    examples: examples.slice(0, 5),
  };
}

interface Parts {
  times: number;
  unit: string;
  mix: Record<string, number>;
  wrong: { seals: string[]; catalogue: string[]; data: string[] };
}

async function parts(root: string, scale: Scale | "control"): Promise<Parts> {
  const wrong: Parts["wrong"] = { seals: [], catalogue: [], data: [] };
  wrong.seals.push(...(await checkSeals(root)).map(({ file, problem }) => `${file}: ${problem}`));
  for (const file of (await staleMigrations(root)).keys())
    wrong.seals.push(`${file}: not what the schema files make`);
  const files = (await migrationFiles(root)).map((file) => basename(file));

  const schemas = await (fromSchemas ??= buildAndRead());
  if (scale !== "control") {
    const empty = await createDatabase(); // what every test begins with: all migrations, from nothing
    await compare("an empty project", schemas, empty, wrong.catalogue);
    await empty.drop();
  }

  // where a project may have stopped and gone on: on its old tables, or in the books; between the two nothing works
  const [setAside, opening] = ["_set_aside_old_tables.sql", "_open_the_books.sql"].map((name) =>
    files.findIndex((file) => file.endsWith(name)),
  ) as [number, number];
  const stops =
    scale === "control"
      ? [opening]
      : files.flatMap((_, nth) =>
          nth < setAside || (nth >= opening && nth < files.length - 1) ? [nth] : [],
        );
  const queue = scale === "short" ? [diceFor(0).any(stops)] : stops;
  const versions = queue.length;
  const [stoppedAt] = scale === "short" ? queue : [];
  let rows = 0;
  const next = async (): Promise<void> => {
    const stop = queue.pop();
    if (stop === undefined) return;
    const db = await createDatabase({ template: "platform" });
    try {
      rows += await upgrade(db, root, files.slice(0, stop + 1), wrong.data);
      await compare(`an old project that stopped at ${files[stop]}`, schemas, db, wrong.catalogue);
    } finally {
      await db.drop();
    }
    await next();
  };
  await Promise.all([next(), next()]);
  const mix = {
    "migrations sealed or made from the schema files": files.length - 2, // two by hand, until they are released
    "versions upgraded with data": versions,
    "rows taken along": rows,
    "facts compared": schemas.size,
    ...(stoppedAt !== undefined && { [`stopped at ${files[stoppedAt]}`]: 1 }),
  };
  return { times: files.length + versions, unit: "migrations, versions and bytes", mix, wrong };
}

let fromSchemas: Promise<Catalog> | undefined;

async function buildAndRead(): Promise<Catalog> {
  const built = await createDatabase({ template: "platform" });
  try {
    await buildFromSchemas(built.url());
    return await catalogOfTheBooks(built);
  } finally {
    await built.drop();
  }
}

async function compare(what: string, schemas: Catalog, db: Database, wrong: string[]): Promise<void> {
  const differences = compareCatalogs(schemas, await catalogOfTheBooks(db));
  wrong.push(...differences.map((one) => `${what}: ${describeDifference(one, "schemas", "migrations")}`));
}

/** Changes bytes of every migration, one at a time; its seal must break each time. */
async function changeBytes(root: string, each: number, wrong: string[]): Promise<number> {
  const files = (await migrationFiles(root)).filter((file) => basename(file) < firstUnreleased);
  for (const file of files) {
    const { length } = await readFile(join(root, file));
    for (let nth = 0; nth < each; nth++) {
      const at = Math.min(length - 1, Math.floor((nth * length) / (each - 1)));
      const original = await flip(join(root, file), at);
      const broken = await checkSeals(root);
      if (broken.length !== 1 || broken[0]!.file !== file || broken[0]!.problem !== "edited") {
        wrong.push(`${file}, byte ${at}: ${JSON.stringify(broken)}`);
      }
      await writeFile(join(root, file), original);
    }
  }
  return files.length * each;
}

async function flip(file: string, at: number): Promise<Buffer> {
  const original = await readFile(file);
  const edited = Buffer.from(original);
  edited[at]! ^= 1;
  await writeFile(file, edited);
  return original;
}

/** Brings an old project to a version, lets it work there, and brings it to the newest; what it has must be left. */
async function upgrade(db: Database, root: string, files: string[], wrong: string[]): Promise<number> {
  const last = files.at(-1)!;
  const stopped = await mkdtemp(join(tmpdir(), "tokenbook-version-"));
  try {
    await loadBeforeCleanup(db, legacyProject());
    await cp(join(root, "supabase/config.toml"), join(stopped, "supabase/config.toml"));
    for (const file of files) {
      await cp(join(root, migrationsFolder, file), join(stopped, migrationsFolder, file));
    }
    await migrationUp({ url: db.url(), workdir: stopped, includeAll: true });
  } finally {
    await rm(stopped, { recursive: true });
  }
  const project = legacyProject();
  const isOpen = files.some((file) => file.endsWith("_open_the_books.sql"));
  const due = new Map<string, number>();
  for (const { user, remaining } of expectedGrants(project)) due.set(user, (due.get(user) ?? 0) + remaining);
  for (let nth = 0; nth < 3; nth++) {
    const user = await createUser(db);
    if (isOpen) await live(db, user);
    else due.set(user, await liveBeforeTheBooks(db, user));
  }

  const before = await (isOpen ? holdings(db) : holdingsBeforeTheBooks(db));
  await migrationUp({ url: db.url(), workdir: root, includeAll: true });
  const after = await (isOpen ? holdings(db) : holdingsAfterTheOpening(db));
  for (const [what, had] of Object.entries(before)) {
    if (after[what] !== had) wrong.push(`after ${last}: ${what} ${had}, then ${after[what]}`);
  }
  if (!isOpen) {
    const accounts = await db.admin.query("select user_id, tokens_remaining from public.token_accounts");
    const has = new Map(accounts.rows.map((row) => [row.user_id, Number(row.tokens_remaining)]));
    for (const [user, tokens] of due) {
      if (has.get(user) !== tokens)
        wrong.push(`after ${last}: ${user} was due ${tokens}, has ${has.get(user)}`);
    }
  }
  wrong.push(...(await breaches(db)).map((breach) => `after ${last}: ${breach}`));
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  if (rows.length > 0) wrong.push(`after ${last}: ${JSON.stringify(rows[0])}`);
  return Number(before["grants"] ?? 0) + Number(before["entries"]) + Number(before["usage"]);
}

/** What a user does in the old app, on the tables that its version has. Returns what the user is due. */
async function liveBeforeTheBooks(db: Database, user: string): Promise<number> {
  const { rows } = await db.admin.query(
    "select to_regclass('public.token_balances') is not null as has_grants",
  );
  if (rows[0].has_grants) {
    await db.admin.query(
      "insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining) values ($1, 'purchase', 900, 900)",
      [user],
    );
  }
  await db.admin.query(
    `insert into public.token_transactions (user_id, action_type, tokens_used)
     values ($1, 'token_pack_purchase', 900), ($1, 'chat_conversation', -40)`,
    [user],
  );
  await db.admin.query(
    "insert into public.token_usage (user_id, action_type, tokens_used) values ($1, 'chat_conversation', 40)",
    [user],
  );
  return 900;
}

const holdingsBeforeTheBooks = (db: Database) => oldHoldings(db, "token_transactions", "tokens_used");
const holdingsAfterTheOpening = (db: Database) => oldHoldings(db, "token_legacy_transactions", "tokens");

/** What an old project has: its transactions, wherever they are, its usage and its users. */
async function oldHoldings(db: Database, table: string, column: string): Promise<Record<string, string>> {
  const { rows } = await db.admin.query(`
    select (select count(*) from public.${table}) as entries, (select sum(${column}) from public.${table}) as moved,
           (select count(*) from public.token_usage) as usage, (select sum(tokens_used) from public.token_usage) as used,
           (select count(*) from auth.users) as users`);
  return rows[0];
}

/** What a user does, as far as the app's version knows it. */
const deeds: [name: string, call: string][] = [
  ["grant_tokens", "public.grant_tokens($1, 900, 'purchase', p_idempotency_key => 'pack')"],
  ["grant_tokens", "public.grant_tokens($1, 300, 'trial', now() + interval '30 days')"],
  ["deduct_tokens_with_fifo", "public.deduct_tokens_with_fifo($1, 120, p_idempotency_key => 'first')"],
  ["change_token_plan", "public.change_token_plan($1, 'starter')"],
  ["create_token_payment", "public.create_token_payment($1, 'professional')"],
  ["adjust_tokens", "public.adjust_tokens($1, -15, 'correction')"],
  ["adjust_tokens", "public.adjust_tokens($1, 25, 'correction')"],
  ["track_token_usage", "public.track_token_usage($1, 'chat_conversation', p_tokens_used => 40)"],
  ["reserve_tokens", "public.reserve_tokens($1, 60, 3600)"],
  [
    "refund_tokens",
    "public.refund_tokens($1, (select max(id) from public.token_transactions where user_id = $1 and entry_type = 'deduction'), 5)",
  ],
  [
    "deduct_tokens_batch",
    "public.deduct_tokens_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'tokens', 20)))",
  ],
  ["set_token_spend_cap", "public.set_token_spend_cap('month', 1000000, $1)"],
];

async function live(db: Database, user: string): Promise<void> {
  const { rows } = await db.admin.query(
    "select array_agg(proname::text) as known from pg_proc where pronamespace = 'public'::regnamespace",
  );
  for (const [name, call] of deeds) {
    if (rows[0].known.includes(name)) await db.admin.query(`select ${call}`, [user]);
  }
}

async function holdings(db: Database): Promise<Record<string, string>> {
  const { rows } = await db.admin.query(`
    select (select count(*) from public.token_balances) as grants, (select sum(tokens_remaining) from public.token_balances) as left,
           (select count(*) from public.token_transactions) as entries, (select sum(tokens) from public.token_transactions) as booked,
           (select count(*) from public.token_usage) as usage, (select sum(tokens_used) from public.token_usage) as used,
           (select sum(tokens_remaining) from public.token_accounts) as spendable,
           (select md5(string_agg(format('%s %s', user_id, tokens_remaining), ',' order by user_id)) from public.token_accounts) as each,
           (select count(*) from auth.users) as users`);
  return rows[0];
}
