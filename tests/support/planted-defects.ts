/** For every rule of the house something that breaks it, so that a rule that finds nothing is seen. */
import type { LintName } from "../../scripts/schema/lints.ts";

/** A function without fault, but for what is put in: its body, and what follows it. */
const plantedFunction = (
  name: string,
  body = "null",
  attributes = "set search_path = pg_catalog, pg_temp",
) => `
  create function ${name}() returns void language plpgsql ${attributes} as $$ begin ${body}; end $$;
  comment on function ${name}() is 'Planted.';
  revoke all on function ${name}() from public, anon, authenticated, service_role;`;

/** A table without fault. */
const plantedTable = (name: string, columns = "user_id uuid primary key") => `
  create table ${name} (${columns});
  comment on table ${name} is 'Planted.';
  comment on column ${name}.user_id is 'Planted.';
  alter table ${name} enable row level security;
  revoke all on table ${name} from public, anon, authenticated, service_role;`;

/** For each lint, what it must find, under the names that it must say; no other lint may find anything. */
export const defects: Record<LintName, { sql: string; found: string[] }> = {
  security_definer_in_the_api: {
    sql: `${plantedFunction("public.token_opened", "null", "security definer set search_path = pg_catalog, pg_temp")}
      grant execute on function public.token_opened() to authenticated;
      ${plantedFunction("public.token_kept_for_the_server", "null", "security definer set search_path = pg_catalog, pg_temp")}
      grant execute on function public.token_kept_for_the_server() to service_role;
      ${plantedFunction("tokenbook.behind_a_wrapper", "null", "security definer set search_path = pg_catalog, pg_temp")}
      grant execute on function tokenbook.behind_a_wrapper() to authenticated;`,
    found: ["public.token_opened()"],
  },
  function_without_fixed_search_path: {
    sql:
      plantedFunction("tokenbook.without", "null", "") +
      plantedFunction("tokenbook.wrong", "null", "set search_path = public") +
      plantedFunction("tokenbook.caller_first", "null", "set search_path = pg_temp, pg_catalog") +
      plantedFunction("tokenbook.empty", "null", "set search_path = ''"),
    found: ["tokenbook.caller_first()", "tokenbook.empty()", "tokenbook.without()", "tokenbook.wrong()"],
  },
  name_outside_the_rule: {
    sql: `${plantedTable("public.planted")} ${plantedTable("public.token_planted")}
      create index planted_by_user on public.token_planted (user_id);
      create type public.planted_kind as enum ('one'); create type public.token_planted_kind as enum ('one');
      create type public.planted_pair as (one integer, two integer);
      create domain public.planted_amount as bigint;
      ${plantedFunction("public.planted")} ${plantedFunction("public.plant_token")} ${plantedFunction("tokenbook.planted")}`,
    found: [
      "public.planted",
      "public.planted()",
      "public.planted_amount",
      "public.planted_by_user",
      "public.planted_kind",
      "public.planted_pair",
      "public.planted_pkey",
    ],
  },
  raises_what_clients_retry: {
    sql:
      plantedFunction("tokenbook.by_number", "raise exception using errcode = '40001'") +
      plantedFunction("tokenbook.by_name", "raise deadlock_detected") +
      plantedFunction("tokenbook.by_sqlstate", "raise sqlstate '40P01'") +
      plantedFunction(
        "tokenbook.by_variable",
        "declare v_code text := 'serialization_failure'; begin raise exception using errcode = v_code; end",
      ) +
      plantedFunction(
        "tokenbook.by_format",
        "execute format('do %L', 'begin raise sqlstate ''40001''; end')",
      ) +
      plantedFunction("tokenbook.by_dollars", "execute $q$do 'begin raise deadlock_detected; end'$q$") +
      plantedFunction("tokenbook.as_argument", "perform tokenbook.refuse('40p01')") +
      `${plantedFunction("public.token_wrapped", "raise exception using message = 'busy', errcode = '40001'")}
      create policy "planted" on public.token_accounts for select to authenticated using (
        (select tokenbook.caller_id()) = user_id and current_setting('x') <> '40001');` +
      plantedFunction(
        "tokenbook.in_a_comment",
        "-- not 40001\n perform 1 /* nor a serialization_failure */",
      ) +
      plantedFunction("tokenbook.caught", "null; exception when deadlock_detected then null") +
      plantedFunction(
        "tokenbook.both_caught",
        "null; exception when sqlstate '40001' or deadlock_detected then null",
      ),
    found: [
      "tokenbook.as_argument()",
      "tokenbook.by_dollars()",
      "tokenbook.by_format()",
      "tokenbook.by_name()",
      "tokenbook.by_number()",
      "tokenbook.by_sqlstate()",
      "tokenbook.by_variable()",
      "public.token_accounts: policy planted",
      "public.token_wrapped()",
    ],
  },
  function_executable_by_public: {
    // anon is part of PUBLIC, so the lint after this one finds it too; and finds what is granted by name
    sql: `${plantedFunction("tokenbook.opened")} grant execute on function tokenbook.opened() to public;`,
    found: ["tokenbook.opened()"],
  },
  anonymous_rights: {
    sql: `${plantedFunction("public.token_for_anyone")} grant execute on function public.token_for_anyone() to anon;
      ${plantedTable("public.token_read_by_anyone")} grant select (user_id) on public.token_read_by_anyone to anon;
      grant usage on schema tokenbook to anon;
      create sequence tokenbook.counted_by_anyone; grant select on sequence tokenbook.counted_by_anyone to anon;`,
    found: [
      "public.token_for_anyone()",
      "public.token_read_by_anyone",
      "schema tokenbook",
      "tokenbook.counted_by_anyone",
    ],
  },
  writable_table: {
    sql: `${plantedTable("public.token_written")} grant insert on public.token_written to service_role;
      ${plantedTable("tokenbook.changed")} grant update (user_id) on tokenbook.changed to authenticated;
      ${plantedTable("tokenbook.emptied")} grant truncate on tokenbook.emptied to service_role;
      create sequence tokenbook.advanced; grant usage on sequence tokenbook.advanced to service_role;
      grant insert on public.user_profiles to authenticated;`,
    found: [
      "tokenbook.advanced: service_role",
      "tokenbook.changed: authenticated",
      "tokenbook.emptied: service_role",
      "public.token_written: service_role",
    ],
  },
  unasked_backlog: {
    sql: `${plantedFunction("tokenbook.gives_unasked", "perform tokenbook.issue_grant(null, null)")}
      ${plantedFunction("tokenbook.asks", "if (tokenbook.issue_grant(null, null)).is_behind then null; end if")}`,
    found: ["tokenbook.gives_unasked()"],
  },
  second_writer_of_the_ledger: {
    sql: `${plantedFunction("tokenbook.writes", "insert into public.token_transactions select * from public.token_transactions")}
      ${plantedFunction("tokenbook.merges", "MERGE INTO\n token_transactions t using (select) s on false when not matched then do nothing")}
      ${plantedFunction("tokenbook.reads", "perform from public.token_transactions")}
      ${plantedFunction("tokenbook.writes_beside", "insert into public.token_legacy_transactions select * from public.token_legacy_transactions")}
      do $$ begin
        execute regexp_replace(pg_get_functiondef('tokenbook.append_transactions'::regproc),
          '(insert into.*?;)', '\\1 \\1');
      end $$;`,
    found: [
      "tokenbook.append_transactions(public.token_transactions[])",
      "tokenbook.merges()",
      "tokenbook.writes()",
    ],
  },
  second_copy_of_a_list: {
    sql: `${plantedFunction("tokenbook.knows_types", "perform 'x' in ('annual', '28day', 'trial', 'purchase')")}
      ${plantedFunction("tokenbook.knows_actions", "perform 'x' in ('admin_grant', 'trial_grant', 'renewal_grant', 'subscription_grant')")}
      ${plantedFunction("tokenbook.knows_kinds", `perform '{"dropped": 1, "depleted": 2, "recovered": 3}'::jsonb`)}
      ${plantedFunction("tokenbook.knows_some", "perform 'x' in ('annual', '28day', 'dropped', 'depleted', 'admin_grant')")}
      alter table public.token_plans add constraint of_a_type check (grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan'));`,
    found: [
      "public.token_plans: constraint of_a_type",
      "tokenbook.knows_actions()",
      "tokenbook.knows_kinds()",
      "tokenbook.knows_types()",
    ],
  },
  action_type_not_reserved: {
    sql: `${plantedFunction("tokenbook.compares", "perform from public.token_usage where action_type = 'is' or action_type <> 'is_not' or action_type is not distinct from 'is_like'")}
      ${plantedFunction("tokenbook.looks_among", "perform from public.token_usage u where u.action_type not in ('one', 'expiry', 'two') or u.action_type <> all (tokenbook.grant_action_types() || 'three'::text)")}
      ${plantedFunction("tokenbook.tells_apart", "perform case u.action_type when 'void' then 1 when 'case' then 2 end from public.token_usage u")}
      ${plantedFunction("tokenbook.sets", "declare v_entry public.token_usage; begin v_entry.action_type := case when true then 'first' else 'second' end; v_entry.action_type := 'third'; end")}
      ${plantedFunction("tokenbook.asks_for_its_own", "perform from public.token_usage where action_type in ('rollover', 'plan_change') and model_used = 'gpt'")}
      create view tokenbook.of_actions with (security_invoker = true) as select 1 as one from public.token_usage where action_type in ('seen', 'void');
      comment on view tokenbook.of_actions is 'Planted.';
      comment on column tokenbook.of_actions.one is 'Planted.';`,
    found: [
      "tokenbook.compares(): is",
      "tokenbook.compares(): is_like",
      "tokenbook.compares(): is_not",
      "tokenbook.looks_among(): one",
      "tokenbook.looks_among(): three",
      "tokenbook.looks_among(): two",
      "tokenbook.of_actions: seen",
      "tokenbook.sets(): first",
      "tokenbook.sets(): second",
      "tokenbook.sets(): third",
      "tokenbook.tells_apart(): case",
    ],
  },
  select_without_columns: {
    sql:
      plantedFunction(
        "tokenbook.asks_for_nothing",
        "perform 1 where exists (select from public.token_plans)",
      ) +
      plantedFunction(
        "tokenbook.asks_for_one",
        "perform 1 -- select from\n where exists (select 1 from public.token_plans)",
      ),
    found: ["tokenbook.asks_for_nothing()"],
  },
  volatile_in_a_change: {
    sql:
      plantedFunction(
        "tokenbook.clock_in_an_update",
        "update public.token_accounts a set updated_at = clock_timestamp() where a.user_id = null",
      ) +
      plantedFunction(
        "tokenbook.dice_in_a_conflict",
        "insert into tokenbook.test_users as u (user_id) values (gen_random_uuid()) on conflict (user_id) do update set user_id = gen_random_uuid()",
      ) +
      plantedFunction(
        "tokenbook.clock_before_it",
        "perform clock_timestamp(); insert into tokenbook.test_users (user_id) values (gen_random_uuid()) on conflict do nothing",
      ),
    found: ["tokenbook.clock_in_an_update()", "tokenbook.dice_in_a_conflict()"],
  },
  lock_without_its_user: {
    sql:
      plantedFunction(
        "tokenbook.locks_anybody",
        "perform 1 from public.token_holds h where h.status = 'open' for update skip locked",
      ) +
      plantedFunction(
        "tokenbook.locks_several",
        "perform 1 from public.token_accounts a where a.user_id = any ('{}'::uuid[]) for no key update",
      ) +
      plantedFunction(
        "tokenbook.locks_one",
        "perform 1 from public.token_holds h where h.user_id = null for update; perform 1 from public.token_plans p for update",
      ),
    found: ["tokenbook.locks_anybody()", "tokenbook.locks_several()"],
  },
  variable_of_a_view: {
    sql:
      plantedFunction(
        "tokenbook.keeps_a_view",
        "declare v_one public.token_subscriptions; begin v_one := null; end",
      ) +
      plantedFunction(
        "tokenbook.keeps_a_row",
        "declare v_one tokenbook.subscriptions; begin v_one := null; end",
      ),
    found: ["tokenbook.keeps_a_view()"],
  },
  swallowed_errors: {
    sql: plantedFunction("tokenbook.swallows", "null; exception WHEN\n OTHERS then null"),
    found: ["tokenbook.swallows()"],
  },
  into_strict: {
    sql: plantedFunction("tokenbook.strict", "declare v integer; begin select 1 into strict v; end"),
    found: ["tokenbook.strict()"],
  },
  caller_compared_with_not_equal: {
    sql: `${plantedFunction("tokenbook.right_side", "if null::uuid != (select tokenbook.caller_id()) then null; end if")}
      ${plantedFunction("tokenbook.left_side", "if tokenbook.caller_id() <> null::uuid then null; end if")}
      ${plantedFunction("tokenbook.as_it_should_be", "if tokenbook.caller_id() is distinct from null::uuid then null; end if")}
      create policy "planted" on public.token_accounts for select to authenticated using ((select tokenbook.caller_id()) <> user_id);`,
    found: ["tokenbook.left_side()", "tokenbook.right_side()", "public.token_accounts: policy planted"],
  },
  caller_by_auth_uid: {
    sql: `${plantedFunction("tokenbook.asks", "perform auth.uid()")}
      ${plantedFunction("tokenbook.as_it_should_be", "perform tokenbook.caller_id()")}
      create policy "planted" on public.token_accounts for select to authenticated
        using ((select auth.uid()) = user_id and tokenbook.caller_id() is not null);`,
    found: ["tokenbook.asks()", "public.token_accounts: policy planted"],
  },
  view_without_security_invoker: {
    sql: `create view tokenbook.as_owner as select 1 as one;
      create view tokenbook.as_owner_by_choice with (security_invoker = false) as select 1 as one;
      create view tokenbook.as_caller with (security_invoker = on) as select 1 as one;
      comment on view tokenbook.as_owner is 'Planted.';
      comment on column tokenbook.as_owner.one is 'Planted.';
      comment on view tokenbook.as_owner_by_choice is 'Planted.';
      comment on column tokenbook.as_owner_by_choice.one is 'Planted.';
      comment on view tokenbook.as_caller is 'Planted.';
      comment on column tokenbook.as_caller.one is 'Planted.';`,
    found: ["tokenbook.as_owner", "tokenbook.as_owner_by_choice"],
  },
  materialized_view: {
    sql: `create materialized view tokenbook.copied as select 1 as one;
      comment on materialized view tokenbook.copied is 'Planted.';
      comment on column tokenbook.copied.one is 'Planted.';`,
    found: ["tokenbook.copied"],
  },
  table_without_row_level_security: {
    sql: `${plantedTable("public.token_unguarded")} alter table public.token_unguarded disable row level security;`,
    found: ["public.token_unguarded"],
  },
  table_without_replica_identity: {
    sql: `${plantedTable("public.token_unpublished", "user_id uuid")}
      ${plantedTable("tokenbook.unpublished")} alter table tokenbook.unpublished replica identity nothing;
      ${plantedTable("tokenbook.published_in_full", "user_id uuid")} alter table tokenbook.published_in_full replica identity full;`,
    found: ["public.token_unpublished", "tokenbook.unpublished"],
  },
  policy_wider_than_one_role_and_verb: {
    sql: `create policy "for anyone" on public.token_accounts for select using ((select tokenbook.caller_id()) = user_id);
      create policy "for anything" on public.token_accounts to authenticated using ((select tokenbook.caller_id()) = user_id);`,
    found: ['public.token_accounts: policy "for anyone"', 'public.token_accounts: policy "for anything"'],
  },
  cascade_into_the_books: {
    sql: `alter table public.token_accounts
        add constraint takes_along foreign key (user_id) references auth.users (id) on delete cascade;
      alter table tokenbook.admins
        add constraint follows foreign key (user_id) references auth.users (id) on update cascade;
      alter table public.token_storage_quotas
        add constraint holds foreign key (user_id) references auth.users (id);`,
    found: ["tokenbook.admins: follows", "public.token_accounts: takes_along"],
  },
  overloaded_function: {
    sql: `create function public.token_twice(p integer) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$ begin end $$;
      comment on function public.token_twice(integer) is 'Planted.';
      revoke all on function public.token_twice(integer) from public, anon, authenticated, service_role;
      ${plantedFunction("public.token_twice")}`,
    found: ["public.token_twice()", "public.token_twice(integer)"],
  },
  array_parameter: {
    sql: `create function public.token_listed(p_texts text[]) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$ begin end $$;
      comment on function public.token_listed(text[]) is 'Planted.';
      revoke all on function public.token_listed(text[]) from public, anon, authenticated, service_role;`,
    found: ["public.token_listed(text[])"],
  },
  rows_of_everyone: {
    sql: `create policy "every signed-in user" on public.token_accounts for select to authenticated using (auth.role() = 'authenticated');
      create policy "own rows" on public.token_accounts for select to authenticated using ((select tokenbook.caller_id()) = user_id);
      create policy "of the price list" on public.token_model_prices for select to authenticated using (true);`,
    found: ['public.token_accounts: policy "every signed-in user"'],
  },
  internal_relation_readable: {
    sql: `${plantedTable("tokenbook.shown")} grant select on tokenbook.shown to authenticated;
      ${plantedTable("tokenbook.shown_in_part")} grant select (user_id) on tokenbook.shown_in_part to service_role;
      create sequence tokenbook.counted; grant select on sequence tokenbook.counted to service_role;`,
    found: [
      "tokenbook.counted: service_role",
      "tokenbook.shown: authenticated",
      "tokenbook.shown_in_part: service_role",
    ],
  },
  files_listed_by_anyone: {
    sql: `create table storage.objects (bucket_id text, owner uuid);
      create policy "listing" on storage.objects for select to authenticated using (bucket_id = 'avatars');
      create policy "anything" on storage.objects using (true);
      create policy "uploads" on storage.objects for insert to authenticated with check (true);
      create policy "of the server" on storage.objects for select to service_role using (true);
      create policy "own files" on storage.objects for select to authenticated using ((select auth.uid()) = owner);`,
    found: ["storage.objects: policy anything", "storage.objects: policy listing"],
  },
  missing_comment: {
    sql: `${plantedTable("public.token_explained", "user_id uuid primary key, unexplained text")}
      ${plantedFunction("tokenbook.unexplained")} comment on function tokenbook.unexplained() is null;
      ${plantedTable("tokenbook.unexplained")} comment on table tokenbook.unexplained is null;`,
    found: ["tokenbook.unexplained", "tokenbook.unexplained()", "public.token_explained.unexplained"],
  },
};

/** What another lint finds in the same defect, because it is the same fault seen from there. */
export const alsoFound: Partial<Record<LintName, Partial<Record<LintName, string[]>>>> = {
  function_executable_by_public: { anonymous_rights: ["tokenbook.opened()"] },
  anonymous_rights: { internal_relation_readable: ["tokenbook.counted_by_anyone: anon"] },
};

/**
 * For the lints that the CLI bundles, as far as this platform has what they look at: the names of what
 * they must find. Without a sample: insecure_queue_exposed_in_api (no pgmq), foreign_table_in_api (no
 * foreign servers without a superuser), fkey_to_auth_unique, extension_versions_outdated and table_bloat.
 */
export const defectsForTheAdvisors = {
  sql: `
    create view public.planted_users as select id, email from auth.users;
    grant select on public.planted_users to anon;
    create table public.planted_rows (id integer primary key, user_id uuid references auth.users (id));
    alter table public.planted_rows enable row level security;
    create policy "asks for each row" on public.planted_rows for select to authenticated using (auth.uid() = user_id);
    create policy "a second one" on public.planted_rows for select to authenticated using ((select auth.uid()) is null);
    create policy "written by users" on public.planted_rows for update to authenticated
      using ((select auth.jwt()) -> 'user_metadata' ->> 'role' = 'admin');
    create policy "always" on public.planted_rows for insert to authenticated with check (true);
    create table public.planted_twice (id integer primary key, user_id uuid);
    create index planted_one on public.planted_twice (user_id);
    create index planted_two on public.planted_twice (user_id);
    alter table public.planted_twice enable row level security;
    create table public.planted_open (id integer, password text);
    grant select on public.planted_open to anon;
    create policy "not enforced" on public.planted_open for select to anon using (true);
    create function public.planted_function() returns integer language sql as 'select 1';
    create materialized view public.planted_copy as select 1 as one;
    grant select on public.planted_copy to anon;
    create table public.planted_names (id integer primary key, name regproc);
    alter table public.planted_names enable row level security;
    create extension citext with schema public;`,
  found: {
    unindexed_foreign_keys: "planted_rows",
    auth_users_exposed: "planted_users",
    auth_rls_initplan: "planted_rows",
    no_primary_key: "planted_open",
    unused_index: "planted_twice",
    multiple_permissive_policies: "planted_rows",
    policy_exists_rls_disabled: "planted_open",
    rls_enabled_no_policy: "planted_twice",
    duplicate_index: "planted_twice",
    security_definer_view: "planted_users",
    function_search_path_mutable: "planted_function",
    rls_disabled_in_public: "planted_open",
    extension_in_public: "citext",
    rls_references_user_metadata: "planted_rows",
    materialized_view_in_api: "planted_copy",
    unsupported_reg_types: "planted_names",
    sensitive_columns_exposed: "planted_open",
    rls_policy_always_true: "planted_rows",
  },
};
