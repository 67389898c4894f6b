import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withConnection } from "../../scripts/schema/connection.ts";
import { type LintName, lints, lintsOf, runLints } from "../../scripts/schema/lints.ts";
import { createDatabase, type Database } from "../support/database.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("no object of Tokenbook breaks a rule of the house", async () => {
  const findings = await runLints(db.url());

  console.log(`lints=${Object.keys(lints).length} findings=${Object.values(findings).flat().length}`);
  for (const [name, objects] of Object.entries(findings)) {
    expect(objects, `${name}: ${lints[name as LintName].why}`).toEqual([]);
  }
});

/** A function without fault, but for what is put in: its body, and what follows it. */
const plantedFunction = (name: string, body = "null", attributes = "set search_path = ''") => `
  create function ${name}() returns void language plpgsql ${attributes} as $$ begin ${body}; end $$;
  comment on function ${name}() is 'Planted.';
  revoke all on function ${name}() from public, anon, authenticated, service_role;`;

/** A table without fault. */
const plantedTable = (name: string, columns = "user_id uuid") => `
  create table ${name} (${columns});
  comment on table ${name} is 'Planted.';
  comment on column ${name}.user_id is 'Planted.';
  alter table ${name} enable row level security;
  revoke all on table ${name} from public, anon, authenticated, service_role;`;

/** For each lint, what it must find, under the names that it must say; no other lint may find anything. */
const defects: Record<LintName, { sql: string; found: string[] }> = {
  security_definer_in_the_api: {
    sql: `${plantedFunction("public.opened", "null", "security definer set search_path = ''")}
      grant execute on function public.opened() to authenticated;
      ${plantedFunction("public.kept_for_the_server", "null", "security definer set search_path = ''")}
      grant execute on function public.kept_for_the_server() to service_role;
      ${plantedFunction("private.behind_a_wrapper", "null", "security definer set search_path = ''")}
      grant execute on function private.behind_a_wrapper() to authenticated;`,
    found: ["public.opened()"],
  },
  function_without_empty_search_path: {
    sql:
      plantedFunction("private.without", "null", "") +
      plantedFunction("private.wrong", "null", "set search_path = public"),
    found: ["private.without()", "private.wrong()"],
  },
  function_executable_by_public: {
    // anon is part of PUBLIC, so the lint after this one finds it too; and finds what is granted by name
    sql: `${plantedFunction("private.opened")} grant execute on function private.opened() to public;`,
    found: ["private.opened()"],
  },
  anonymous_rights: {
    sql: `${plantedFunction("public.for_anyone")} grant execute on function public.for_anyone() to anon;
      ${plantedTable("public.read_by_anyone")} grant select (user_id) on public.read_by_anyone to anon;
      create sequence private.counted_by_anyone; grant select on sequence private.counted_by_anyone to anon;`,
    found: ["private.counted_by_anyone", "public.for_anyone()", "public.read_by_anyone"],
  },
  writable_table: {
    sql: `${plantedTable("public.written")} grant insert on public.written to service_role;
      ${plantedTable("private.changed")} grant update (user_id) on private.changed to authenticated;
      ${plantedTable("private.emptied")} grant truncate on private.emptied to service_role;
      create sequence private.advanced; grant usage on sequence private.advanced to service_role;
      grant insert on public.user_profiles to authenticated;`,
    found: [
      "private.advanced: service_role",
      "private.changed: authenticated",
      "private.emptied: service_role",
      "public.written: service_role",
    ],
  },
  swallowed_errors: {
    sql: plantedFunction("private.swallows", "null; exception WHEN\n OTHERS then null"),
    found: ["private.swallows()"],
  },
  into_strict: {
    sql: plantedFunction("private.strict", "declare v integer; begin select 1 into strict v; end"),
    found: ["private.strict()"],
  },
  caller_compared_with_not_equal: {
    sql: `${plantedFunction("private.right_side", "if null::uuid != (select auth.uid()) then null; end if")}
      ${plantedFunction("private.left_side", "if auth.uid() <> null::uuid then null; end if")}
      ${plantedFunction("private.as_it_should_be", "if auth.uid() is distinct from null::uuid then null; end if")}
      create policy "planted" on public.token_accounts for select to authenticated using ((select auth.uid()) <> user_id);`,
    found: ["private.left_side()", "private.right_side()", "public.token_accounts: policy planted"],
  },
  view_without_security_invoker: {
    sql: `create view private.as_owner as select 1 as one;
      create view private.as_owner_by_choice with (security_invoker = false) as select 1 as one;
      create view private.as_caller with (security_invoker = on) as select 1 as one;
      comment on view private.as_owner is 'Planted.';
      comment on column private.as_owner.one is 'Planted.';
      comment on view private.as_owner_by_choice is 'Planted.';
      comment on column private.as_owner_by_choice.one is 'Planted.';
      comment on view private.as_caller is 'Planted.';
      comment on column private.as_caller.one is 'Planted.';`,
    found: ["private.as_owner", "private.as_owner_by_choice"],
  },
  materialized_view: {
    sql: `create materialized view private.copied as select 1 as one;
      comment on materialized view private.copied is 'Planted.';
      comment on column private.copied.one is 'Planted.';`,
    found: ["private.copied"],
  },
  table_without_row_level_security: {
    sql: `${plantedTable("public.unguarded")} alter table public.unguarded disable row level security;`,
    found: ["public.unguarded"],
  },
  policy_wider_than_one_role_and_verb: {
    sql: `create policy "for anyone" on public.token_accounts for select using (false);
      create policy "for anything" on public.token_accounts to authenticated using (false);`,
    found: ['public.token_accounts: policy "for anyone"', 'public.token_accounts: policy "for anything"'],
  },
  cascade_into_the_books: {
    sql: `alter table public.token_accounts
        add constraint takes_along foreign key (user_id) references auth.users (id) on delete cascade;
      alter table private.admins
        add constraint follows foreign key (user_id) references auth.users (id) on update cascade;
      alter table public.user_storage
        add constraint holds foreign key (user_id) references auth.users (id);`,
    found: ["private.admins: follows", "public.token_accounts: takes_along"],
  },
  overloaded_function: {
    sql: `create function public.twice(p integer) returns void language plpgsql set search_path = '' as $$ begin end $$;
      comment on function public.twice(integer) is 'Planted.';
      revoke all on function public.twice(integer) from public, anon, authenticated, service_role;
      ${plantedFunction("public.twice")}`,
    found: ["public.twice()", "public.twice(integer)"],
  },
  missing_comment: {
    sql: `${plantedTable("public.explained", "user_id uuid, unexplained text")}
      ${plantedFunction("private.unexplained")} comment on function private.unexplained() is null;
      ${plantedTable("private.unexplained")} comment on table private.unexplained is null;`,
    found: ["private.unexplained", "private.unexplained()", "public.explained.unexplained"],
  },
};

/** What another lint finds in the same defect, because it is the same fault seen from there. */
const alsoFound: Partial<Record<LintName, Partial<Record<LintName, string[]>>>> = {
  function_executable_by_public: { anonymous_rights: ["private.opened()"] },
};

describe("a planted defect is found, and nothing beside it", () => {
  test.each(Object.entries(defects) as [LintName, { sql: string; found: string[] }][])(
    "%s",
    async (name, { sql, found }) => {
      const findings = await withConnection(db.url(), async (client) => {
        await client.query(`begin; ${sql}`);
        const planted = await lintsOf(client);
        await client.query("rollback");
        return planted;
      });

      const clean = Object.fromEntries(Object.keys(lints).map((lint) => [lint, [] as string[]]));
      expect(findings).toEqual({ ...clean, ...alsoFound[name], [name]: found });
    },
  );
});
