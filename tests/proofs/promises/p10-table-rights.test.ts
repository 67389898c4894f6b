// @module-tag proof
import type { ClientBase } from "pg";
import {
  attempt,
  callers,
  type Caller,
  type CallerFixture,
  createCallerFixture,
  each,
  openApi,
} from "../../support/callers.ts";
import { applyMutant } from "../../support/mutants.ts";
import type { Database } from "../../support/database.ts";
import { reading, type Sight } from "./expected-rights.ts";
import { keep, type Tried } from "./promise.ts";
import { together, tryVariants, type Variant } from "./variants.ts";

const variants: Record<string, Variant> = {
  "everything is granted, with own-row policies": {
    change: (db) => applyMutant(db, "tables-open-with-own-row-policies"),
    seen: /self: delete public\.token_holds: done/,
  },
  "a policy for every signed-in user": {
    change: (db) => applyMutant(db, "accounts-read-by-whoever-is-signed-in"),
    seen: /nobody: select public\.token_accounts: all/,
  },
  "a table that nobody declared": {
    change: (db) => db.admin.query("create table public.planted (id integer primary key)"),
    seen: /public\.planted: not declared/,
  },
};

keep({
  id: "P10",
  promise: "Every caller reads the rows meant for it in every table and view, and no caller writes to any",
  trial:
    "Every relation of the catalogue, tried: select, insert, update, delete, truncate, upsert, merge, copy out and in, by eight callers, through SQL and through HTTP, in a project with the legacy default privileges and in one without; compared with tests/proofs/promises/expected-rights.ts",
  run: async (scale) => {
    const legacy = await tryIt(
      await createCallerFixture("legacy"),
      scale === "long" ? "all" : "what is public",
    );
    const closed = await tryIt(await createCallerFixture("closed"), scale === "long" ? "all" : "nothing");
    return together(legacy, closed);
  },
  control: {
    variant: Object.keys(variants).join("; "),
    run: () => tryVariants(variants, (fixture) => tryIt(fixture, "nothing")),
  },
});

interface Relation {
  name: string;
  schema: "public" | "tokenbook";
  /** As pg_class.relkind says it. */
  kind: string;
  /** That can be written, by a role with the right. */
  columns: string[];
  key: string[];
}

/**
 * Tries every cell in one world, and closes it.
 *
 * @param throughApi what is tried through HTTP as well; what is internal is not even there for it
 */
async function tryIt(
  fixture: CallerFixture,
  throughApi: "all" | "what is public" | "nothing",
): Promise<Tried> {
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  let times = 0;
  /** One cell: what was expected, and what was found. */
  const cell: Cell = (where, expected, found) => {
    times++;
    mix[found] = (mix[found] ?? 0) + 1;
    if (found !== expected) wrong.push(`${fixture.world}, ${where}: ${found}, not ${expected}`);
  };
  try {
    const relations = await relationsOf(fixture.db);
    const expected = new Map(
      reading.flatMap(({ sees, relations: names }) => names.map((name) => [name, sees])),
    );
    for (const name of expected.keys()) {
      if (!relations.some((relation) => relation.name === name)) cell(name, "there", "gone");
    }
    for (const { name } of relations) if (!expected.has(name)) cell(name, "declared", "not declared");
    const declared = relations.filter(({ name }) => expected.has(name));

    for (const caller of callers) {
      await fixture.as(caller, async (client) => {
        for (const relation of declared) {
          await throughSql(fixture, client, caller, relation, expected.get(relation.name)![caller], cell);
        }
        for (const schema of ["public", "tokenbook"]) {
          const made = await attempt(client, `create table ${schema}.made ()`);
          cell(`SQL, ${caller} creates in ${schema}`, "no", "code" in made ? "no" : "done");
        }
      });
    }
    if (throughApi !== "nothing") {
      const api = await openApi(fixture);
      // the API knows no sequences
      const asked = declared.filter(
        ({ kind, schema }) => kind !== "S" && (throughApi === "all" || schema === "public"),
      );
      const cells = asked.flatMap((relation) => callers.map((caller) => ({ relation, caller })));
      await each(cells, 4, async ({ relation, caller }) => {
        await throughHttp(fixture, api, caller, relation, expected.get(relation.name)![caller], cell);
      });
      await api.close();
    }
    mix[`relations, ${fixture.world}`] = relations.length;
    return { times, unit: "cells", mix, violations: wrong.length, examples: wrong };
  } finally {
    await fixture.close();
  }
}

type Cell = (where: string, expected: string, found: string) => void;

async function throughSql(
  fixture: CallerFixture,
  client: ClientBase,
  caller: Caller,
  { name, kind, columns, key }: Relation,
  sight: Sight,
  cell: Cell,
) {
  const where = (verb: string) => `SQL, ${caller}: ${verb} ${name}`;
  if (kind === "S") {
    for (const verb of [`nextval('${name}')`, `setval('${name}', 1)`, `last_value from ${name}`]) {
      const said = await attempt(client, `select ${verb}`);
      cell(where(verb), "no", !("code" in said) ? "done" : said.code === "42501" ? "no" : said.code);
    }
    return;
  }

  const selected = await attempt(client, `select * from ${name}`);
  cell(
    where("select"),
    sight,
    "code" in selected ? refusal(selected) : sightOf(fixture, caller, selected.rows),
  );
  const copied = await attempt(client, `copy (select * from ${name}) to stdout`);
  const rows = "code" in selected ? refusal(selected) : `${selected.count} rows`;
  const copies = "code" in copied ? refusal(copied) : `${copied.count} rows`;
  cell(where("copy out"), "as select", copies === rows ? "as select" : copies);

  const first = columns[0]!;
  const list = columns.join(", ");
  const onto =
    key.length > 0 ? `(${key.join(", ")}) do update set ${first} = excluded.${first}` : "do nothing";
  const writes = {
    insert: `insert into ${name} default values`,
    update: `update ${name} set ${first} = ${first}`,
    delete: `delete from ${name}`,
    truncate: `truncate ${name}`,
    upsert: `insert into ${name} (${list}) select ${list} from ${name} on conflict ${onto}`,
    merge: `merge into ${name} t using ${name} s on t.${first} = s.${first} when matched then delete`,
    "copy in": `copy ${name} from stdin`,
  };
  for (const [verb, sql] of Object.entries(writes)) {
    const said = await attempt(client, sql);
    // what nobody can do with a view is as good as what nobody may
    const isImpossible = kind === "v" && "code" in said && ["42809", "55000"].includes(said.code);
    cell(where(verb), "no", !("code" in said) ? "done" : isImpossible ? "no" : refusal(said));
  }
}

async function throughHttp(
  fixture: CallerFixture,
  api: Awaited<ReturnType<typeof openApi>>,
  caller: Caller,
  { name, schema, kind, columns }: Relation,
  sight: Sight,
  cell: Cell,
) {
  const path = name.slice(schema.length + 1);
  const where = (verb: string) => `HTTP, ${caller}: ${verb} ${name}`;
  const profile = { "accept-profile": schema, "content-profile": schema };
  const filter = `?${columns[0]}=not.is.null`;
  const { rows } = await fixture.db.admin.query(
    `select to_jsonb(r) as row from (select ${columns.join(", ")} from ${name}) r limit 1`,
  );
  const row = JSON.stringify(rows[0]?.row ?? {});

  const read = await api.ask(caller, path, { headers: schema === "tokenbook" ? profile : {} });
  if (schema === "tokenbook") {
    cell(where("GET"), "not there", read.status === 406 ? "not there" : `HTTP ${read.status}`);
    const named = await api.ask(caller, path);
    cell(where("GET as if public"), "not there", named.status === 404 ? "not there" : `HTTP ${named.status}`);
  } else {
    const found =
      read.status === 200
        ? sightOf(fixture, caller, read.body as Record<string, unknown>[])
        : httpRefusal(read);
    cell(where("GET"), sight, found);
  }
  const writes: Record<string, [string, RequestInit]> = {
    POST: [path, { method: "POST", body: row }],
    "POST as upsert": [
      path,
      { method: "POST", body: row, headers: { prefer: "resolution=merge-duplicates" } },
    ],
    PATCH: [path + filter, { method: "PATCH", body: row }],
    DELETE: [path + filter, { method: "DELETE" }],
  };
  for (const [verb, [to, init]] of Object.entries(writes)) {
    const headers = { ...init.headers, ...(schema === "tokenbook" && profile) } as Record<string, string>;
    const said = await api.ask(caller, to, { ...init, headers });
    if (schema === "tokenbook") {
      cell(where(verb), "not there", said.status === 406 ? "not there" : `HTTP ${said.status}`);
      continue;
    }
    const isImpossible = kind === "v" && ["42809", "55000"].includes(codeOf(said.body));
    cell(where(verb), "no", said.status < 300 ? "done" : isImpossible ? "no" : httpRefusal(said));
  }
}

function refusal({ code, message }: { code: string; message: string }): string {
  return code === "42501" ? "no" : `${code} ${message}`;
}

function httpRefusal({ status, body }: { status: number; body: unknown }): string {
  const isRefused = [401, 403].includes(status) && codeOf(body) === "42501";
  return isRefused ? "no" : `HTTP ${status} ${codeOf(body)}`;
}

function codeOf(body: unknown): string {
  return String((body as { code?: unknown } | null)?.code);
}

/** What these rows are to the caller: its own, others', nobody's. */
function sightOf({ claims }: CallerFixture, caller: Caller, rows: Record<string, unknown>[]): Sight {
  const me = caller === "stranger" ? undefined : claims[caller]["sub"];
  const [own, common, others] = [new Set(), new Set(), new Set()];
  for (const row of rows) {
    if (row["user_id"] === undefined || row["user_id"] === null) common.add(row);
    else if (me !== undefined && (row["user_id"] === me || row["member_id"] === me)) own.add(row);
    else others.add(row);
  }
  if (others.size > 0) return "all";
  if (own.size > 0) return common.size > 0 ? "own, common" : "own";
  return common.size > 0 ? "common" : "none";
}

async function relationsOf(db: Database): Promise<Relation[]> {
  const { rows } = await db.admin.query<Relation>(`
    select n.nspname || '.' || c.relname as name, n.nspname as schema, c.relkind as kind,
           array(select a.attname::text from pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                    and a.attidentity = '' and a.attgenerated = ''
                    and (c.relkind in ('r', 'S') or pg_column_is_updatable(c.oid, a.attnum, false)
                      or pg_relation_is_updatable(c.oid, false) = 0) order by a.attnum) as columns, -- any, where nobody could
           array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
                  where i.indrelid = c.oid and i.indisprimary) as key
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'tokenbook') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
     order by 1`);
  return rows;
}
