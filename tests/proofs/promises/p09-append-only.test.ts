// @module-tag proof
import pg from "pg";
import { attempt, createCallerFixture, type Said, type World } from "../../support/callers.ts";
import { applyMutant } from "../../support/mutants.ts";
import { connectAsOwner } from "../../support/storm.ts";
import { keep, type Tried } from "./promise.ts";
import { together } from "./variants.ts";

keep({
  id: "P9",
  promise: "The ledger is append-only for everyone, the server and the owner of the tables included",
  trial:
    "Every way of changing a row of the ledger or taking it away (update, delete, truncate, merge, upsert, through a view, in a with query, of its partition by name), as every role of the server, the superuser included, and again when all of them have been granted everything",
  run: async (scale) =>
    scale === "long" ? together(await tryIt("legacy"), await tryIt("closed")) : await tryIt("legacy"),
  control: {
    variant: "a trigger on each row, which truncate passes by",
    run: async () => {
      const tried = await tryIt("legacy", "ledger-guarded-row-by-row");
      const passed = tried.examples!.filter((one) => /: truncate.*: done$/.test(one));
      return { ...tried, violations: passed.length, examples: passed };
    },
  },
});

const ledger = "public.token_transactions";
const itsPartition = "tokenbook.token_transactions_1_0";
const mine = "user_id = $1";

/** Each would change a row or take it away; as who may. */
const changes: Record<string, string> = {
  update: `update ${ledger} set tokens = tokens + 1 where ${mine}`,
  "update of a word": `update ${ledger} set reason = 'another' where ${mine}`,
  "update that changes nothing": `update ${ledger} set reason = reason where ${mine}`,
  "update from": `update ${ledger} t set tokens = 0 from public.token_accounts a where a.user_id = t.user_id and a.${mine}`,
  "update in a with query": `with changed as (update ${ledger} set metadata = '{}' where ${mine} returning *) select count(*) from changed`,
  "update through a view": `update public.token_usage_history set action = 'another' where ${mine}`,
  delete: `delete from ${ledger} where ${mine}`,
  "delete of all": `delete from ${ledger} where ($1::uuid is not null)`,
  "delete using": `delete from ${ledger} t using public.token_accounts a where a.user_id = t.user_id and a.${mine}`,
  "delete in a with query": `with gone as (delete from ${ledger} where ${mine} returning *) select count(*) from gone`,
  "delete through a view": `delete from public.token_usage_history where ${mine}`,
  truncate: `truncate ${ledger}`,
  "update of its partition": `update ${itsPartition} set tokens = 0 where ${mine}`,
  "delete from its partition": `delete from ${itsPartition} where ${mine}`,
  "truncate of its partition": `truncate ${itsPartition}`,
  "truncate cascade": `truncate ${ledger} cascade`,
  "truncate with another": `truncate public.user_profiles, ${ledger}`,
  "merge that updates": `merge into ${ledger} t using (select $1::uuid as id) s on t.user_id = s.id when matched then update set tokens = 0`,
  "merge that deletes": `merge into ${ledger} t using (select $1::uuid as id) s on t.user_id = s.id when matched then delete`,
  upsert: `insert into ${ledger} select * from ${ledger} where ${mine} on conflict (user_id, id) do update set tokens = 0`,
};

/** What only who keeps the books may do. */
const additions: Record<string, string> = {
  insert: `insert into ${ledger} select (jsonb_populate_record(t, '{"id": 1000000, "idempotency_key": null, "request": null}')).* from ${ledger} t where ${mine} limit 1`,
  "insert of nothing": `insert into ${ledger} default values`,
  "copy in": `copy ${ledger} from stdin`,
};

async function tryIt(world: World, mutant: string | null = null): Promise<Tried> {
  const fixture = await createCallerFixture(world, async (db) => {
    if (mutant !== null) await applyMutant(db, mutant);
  });
  const { db, user, claims } = fixture;
  const client = await connectAsOwner(db, "supabase_admin");
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  let times = 0;
  try {
    const before = await digest(client);
    const roles = await rolesOf(client, claims.stranger.role);
    for (const granted of [false, true]) {
      if (granted) {
        await client.query(`begin; grant all on ${ledger}, public.token_usage_history, public.token_accounts,
          public.user_profiles to ${roles.map((role) => pg.escapeIdentifier(role)).join(", ")}; commit`);
      }
      for (const role of roles) {
        await client.query("begin");
        await client.query(
          "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
          [
            role,
            // so that to the policies every role is the user
            JSON.stringify({ sub: user.id, role }),
          ],
        );
        const keepsBooks = ["postgres", "supabase_admin"].includes(role);
        for (const [name, sql] of Object.entries({ ...changes, ...(!keepsBooks && !granted && additions) })) {
          times++;
          const said = await attempt(client, sql, sql.includes("$1") ? [user.id] : []);
          const answer = answerOf(said);
          mix[answer] = (mix[answer] ?? 0) + 1;
          if (!refusals.includes(answer)) {
            wrong.push(`${role}${granted ? ", granted everything" : ""}: ${name}: ${answer}`);
          }
        }
        await client.query("rollback");
      }
      mix[`roles, ${world}`] = roles.length;
    }
    if ((await digest(client)) !== before) wrong.push("the ledger is not what it was");
    return { times, unit: "attempts", mix, violations: wrong.length, examples: wrong };
  } finally {
    await client.end();
    await db.admin.query(`revoke all on all tables in schema public from ${claims.stranger.role}`);
    await fixture.close();
  }
}

const refusals = ["no such right", "append-only", "row level security"];

function answerOf(said: Said): string {
  if (!("code" in said)) return "done";
  // a role that the trigger stops may not even call the function that words the refusal
  if (said.code === "42501" && said.where?.includes("keep_ledger_append_only")) return "append-only";
  if (/row-level security/.test(said.message)) return "row level security";
  return said.code === "42501" ? "no such right" : `${said.code} ${said.message}`;
}

/** Every role of the server; of the roles that other tests have just made, only the own one. */
async function rolesOf(client: pg.Client, stranger: string): Promise<string[]> {
  const { rows } = await client.query(
    `select r.rolname from pg_roles r
      where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator', 'postgres', 'dashboard_user', 'pg_write_all_data', $1)
         or r.rolname like 'supabase\\_%'
      order by 1`,
    [stranger],
  );
  return rows.map(({ rolname }) => rolname as string);
}

async function digest(client: pg.Client): Promise<string> {
  const { rows } = await client.query(
    `select md5(string_agg(to_jsonb(t)::text, '|' order by t.user_id, t.id)) as digest from ${ledger} t`,
  );
  return rows[0].digest as string;
}
