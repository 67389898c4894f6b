import type { Client } from "pg";
import { withConnection } from "../../packages/tokenbook/src/database/connection.ts";

/** A rule about what may stand in the schemas `public` and `tokenbook`. */
export interface Lint {
  /** What goes wrong where the rule is broken. */
  readonly why: string;
  /** Selects one text column: the objects that break the rule. */
  readonly query: string;
}

/**
 * Names in `public` that do not follow the rule, and whose they are: the views of this repository's older
 * names and the profile of its app, which no other project gets; and one function that is in use.
 */
const ownNames = {
  relations: ["public.user_subscriptions", "public.payments", "public.user_storage", "public.user_profiles"],
  functions: ["public.get_user_storage_quota(uuid)"],
};

/** A list as SQL. */
const array = (names: readonly string[]) => `array[${names.map((name) => `'${name}'`).join(", ")}]::text[]`;

const ownFunctions = `
  select p.*, p.oid::regprocedure::text as name, n.nspname
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
   where n.nspname in ('public', 'tokenbook')
     and p.prokind in ('f', 'p')`;

const ownRelations = `
  select c.*, c.oid::regclass::text as name, n.nspname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname in ('public', 'tokenbook')`;

/**
 * Functions without a search_path, by name: Postgres writes them into the statement that calls them, which it does
 * for no function that sets anything. Called only by functions that set it, and by no client
 * (tests/ledger/burn-order/query-plans.test.ts).
 */
export const inlinedFunctions = [
  "tokenbook.open_grants_fifo",
  "tokenbook.open_grants_expiring_first",
  "tokenbook.open_grants_in_order",
  "tokenbook.burn_key",
  "tokenbook.pays_for",
  "tokenbook.next_due",
  "tokenbook.hold_receipt",
  "tokenbook.oldest_open_grant",
  "tokenbook.broken_account_rule",
  "tokenbook.broken_grant_rule",
  "tokenbook.broken_transaction_rule",
  "tokenbook.broken_hold_rule",
  "tokenbook.deduction_receipt",
  "tokenbook.describe_allocation",
  "tokenbook.grant_terms",
  "tokenbook.refund_receipt",
  "tokenbook.describe_return",
  "tokenbook.caller_role",
  "tokenbook.is_plain_body",
  "tokenbook.is_plain_server_call",
  "tokenbook.usage_between",
  "tokenbook.settled_entry",
] as const;

/** Everything with logic in it, as text: function definitions and the expressions of policies. */
const ownLogic = `
  select f.name, pg_get_functiondef(f.oid) as text from (${ownFunctions}) f
  union all
  select format('%s: policy %I', p.polrelid::regclass, p.polname),
         concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_policy p
    join (${ownRelations}) r on r.oid = p.polrelid`;

/** The bodies of functions without their comments. */
const ownBodies = `
  select f.name, f.proname, regexp_replace(f.prosrc, '--[^\\n]*|/\\*.*?\\*/', '', 'g') as text from (${ownFunctions}) f`;

/**
 * Functions that lock rows of several users in a statement: those that supabase/distributed/layer.sql has otherwise for
 * many machines, moves between projects, and one that locks by a key that is on each machine.
 */
const lockingSeveral = [
  "lock_accounts",
  "expire_old_token_grants",
  "arm_token_alerts",
  "claim_token_webhooks",
  "retry_token_webhooks",
  "repeat_token_webhook_delivery",
  "begin_move",
  "mark_moved",
  "set_token_subject",
];

/** Whether a policy "p" lets API callers read, without asking who it is. */
const readByClients = `p.polpermissive and p.polcmd in ('r', '*')
         and (0 = any (p.polroles) or p.polroles && array['anon'::regrole::oid, 'authenticated'::regrole::oid])
         and pg_get_expr(p.polqual, p.polrelid) !~ '(tokenbook\\.caller_id|auth\\.uid)\\(\\)'`;

/** The forms in which SQL compares or sets an action type: what follows it, and where in that the names are. */
const comparisonsOfActionTypes = [
  {
    where: String.raw`\s*(?:=|<>|!=|is\s+(?:not\s+)?distinct\s+from)\s*('\w+')`,
    literal: String.raw`'(\w+)'`,
  },
  { where: String.raw`\s+(?:not\s+)?in\s*\(([^)]*)\)`, literal: String.raw`'(\w+)'` },
  { where: String.raw`\s*(?:=\s*any|<>\s*all)\s*\(((?:[^()]|\([^()]*\))*)\)`, literal: String.raw`'(\w+)'` },
  { where: String.raw`((?:\s+when\s+'\w+'\s+then\s+\S+)+)`, literal: String.raw`when\s+'(\w+)'` },
  { where: String.raw`\s*:=([^;]*);`, literal: String.raw`(?:then|else|,|^)\s*'(\w+)'` },
];

/**
 * What the advisors of the Supabase CLI do not look at, or not as strictly. The hosted ones have five
 * lints that the CLI does not bundle; what they ask is asked here by: 0025 files_listed_by_anyone, 0026
 * anonymous_rights, 0027 rows_of_everyone and internal_relation_readable, 0028 and 0029
 * security_definer_in_the_api. Where pg_graphql is installed, 0026 and 0027 themselves name whatever
 * may be read at all, the price list and each user's own rows.
 */
export const lints = {
  security_definer_in_the_api: {
    why: "It runs with its owner's rights for every caller: keep it in tokenbook, behind a thin public wrapper.",
    query: `
      select f.name from (${ownFunctions}) f
       where f.prosecdef and f.nspname = 'public'
         and (has_function_privilege('anon', f.oid, 'execute') or has_function_privilege('authenticated', f.oid, 'execute'))`,
  },
  function_without_fixed_search_path: {
    why: "A caller's search_path would decide which table or operator a name means, and an empty one puts a caller's temporary types and tables first: set search_path = pg_catalog, pg_temp.",
    query: `
      select f.name from (${ownFunctions}) f
       where not coalesce('search_path=pg_catalog, pg_temp' = any (f.proconfig), false)
         and (format('%s.%s', f.nspname, f.proname) <> all (${array(inlinedFunctions)}) or f.prosecdef
              or f.prolang <> (select l.oid from pg_language l where l.lanname = 'sql'))`,
  },
  name_outside_the_rule: {
    why: "In public, what Tokenbook makes is known by its name, and meets nothing of the project that it is installed into: relations and types begin with token_, functions have token in their names.",
    query: `
      select r.name from (${ownRelations}) r
       where r.nspname = 'public' and r.relkind <> 'c' and r.relname !~ '^token_' and r.name <> all (${array(ownNames.relations)})
         and not exists (
           select from pg_index i where i.indexrelid = r.oid
              and i.indrelid::regclass::text = any (${array(ownNames.relations)}))
      union all
      select f.name from (${ownFunctions}) f
       where f.nspname = 'public' and f.proname !~ 'token' and f.name <> all (${array(ownNames.functions)})
      union all
      -- the type of a relation has its name, and that of an array its element's
      select t.oid::regtype::text from pg_type t
       where t.typnamespace = 'public'::regnamespace and t.typname !~ '^token_'
         and t.typelem = 0 and coalesce((select c.relkind from pg_class c where c.oid = t.typrelid), 'c') = 'c'`,
  },
  raises_what_clients_retry: {
    why: "40001 and 40P01 are for Postgres to raise: clients and pools send such a transaction again by themselves.",
    query: `
      -- Code that names one may raise it: directly, through a variable, or in dynamic SQL. A comment does not, nor code that catches one.
      select l.name
        from (select o.name, regexp_replace(
                regexp_replace(o.text, '--[^\\n]*|/\\*.*?\\*/', '', 'g'),
                '\\mwhen\\s+(deadlock_detected|serialization_failure|sqlstate\\s+''40(001|P01)'')(\\s+or\\s+(sqlstate\\s+''\\w+''|\\w+))*\\s+then\\M', '', 'gi') as text
                from (${ownLogic}) o) l
       where l.text ~* '\\m(40001|40P01|serialization_failure|deadlock_detected)\\M'`,
  },
  function_executable_by_public: {
    why: "Postgres grants EXECUTE to PUBLIC on every new function; anon is part of PUBLIC.",
    query: `
      select f.name from (${ownFunctions}) f
       cross join lateral aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
       where a.grantee = 0`,
  },
  anonymous_rights: {
    why: "Nothing here is for callers who have not signed in, but the price list.",
    query: `
      select format('schema %I', n.nspname) from pg_namespace n
       where n.nspname = 'tokenbook' and has_schema_privilege('anon', n.oid, 'usage, create')
      union
      select f.name from (${ownFunctions}) f where has_function_privilege('anon', f.oid, 'execute')
      union
      select r.name from (${ownRelations}) r
       where (r.relkind in ('r', 'p', 'v', 'm', 'f')
              and (has_table_privilege('anon', r.oid, 'insert, update, delete, truncate, references, trigger')
                   or has_any_column_privilege('anon', r.oid, 'insert, update, references')
                   or (r.name not in ('token_plans', 'token_packs', 'public.token_plans', 'public.token_packs')
                       and (has_table_privilege('anon', r.oid, 'select')
                            or has_any_column_privilege('anon', r.oid, 'select')))))
          or (case when r.relkind = 'S' then has_sequence_privilege('anon', r.oid, 'usage, select, update') end)`,
  },
  writable_table: {
    why: "Only the functions keep the books right; a role that can write a table can bypass them, service_role included.",
    query: `
      select format('%s: %s', r.name, role) from (${ownRelations}) r
       cross join unnest(array['anon', 'authenticated', 'service_role']) role
       where r.oid is distinct from to_regclass('public.user_profiles') -- the app's own
         and ((r.relkind in ('r', 'p', 'v', 'm', 'f')
               and (has_table_privilege(role, r.oid, 'insert, update, delete, truncate, references, trigger, maintain')
                    or has_any_column_privilege(role, r.oid, 'insert, update, references')))
           or (case when r.relkind = 'S' then has_sequence_privilege(role, r.oid, 'usage, update') end))`,
  },
  second_writer_of_the_ledger: {
    why: "tokenbook.append_transactions is the one INSERT into the ledger; spend_tokens has a copy, and settle_hold one for each of its two entries, for speed (decision 34).",
    query: `
      select l.name from (${ownLogic}) l
       where regexp_count(l.text, '\\m(insert|merge)\\s+into\\s+("?public"?\\s*\\.\\s*)?"?token_transactions\\M', 1, 'i')
         > case split_part(l.name, '(', 1)
                when 'tokenbook.append_transactions' then 1 when 'tokenbook.spend_tokens' then 1
                when 'tokenbook.settle_hold' then 2 else 0 end`,
  },
  unasked_backlog: {
    why: "tokenbook.issue_grant and spend_tokens do nothing where more is due than one call books, and say so: a caller that does not check is_behind takes nothing for done.",
    query: `
      select f.name from (${ownFunctions}) f
       where f.prosrc ~ '\\mtokenbook\\.(issue_grant|spend_tokens)\\(' and f.prosrc !~ '\\mis_behind\\M'`,
  },
  second_copy_of_a_list: {
    why: "A new item would be added to one of the two and be missing in the other: ask the function that is the list.",
    query: `
      select l.name
        from (${ownLogic}
              union all
              select format('%s: constraint %I', c.conrelid::regclass, c.conname), pg_get_constraintdef(c.oid)
                from pg_constraint c join (${ownRelations}) r on r.oid = c.conrelid where c.contype = 'c') l
       cross join (values
         ('tokenbook.built_in_grant_types', array(select jsonb_object_keys(tokenbook.built_in_grant_types())), 4),
         ('tokenbook.built_in_grant_types', tokenbook.grant_action_types(), 4),
         ('tokenbook.alert_kinds', array(select jsonb_object_keys(tokenbook.alert_kinds())), 3)) as list (home, names, too_many)
       where split_part(l.name, '(', 1) not in (list.home, 'tokenbook.declared_shape') -- made from the catalogue, of everything
         and (select count(*) from unnest(list.names) as n (name)
               where position(quote_literal(n.name) in l.text) > 0 or position('"' || n.name || '"' in l.text) > 0) >= list.too_many`,
  },
  action_type_not_reserved: {
    why: "A caller could name their own spending so, and the code would take it for what it is not: add it to tokenbook.reserved_action_types().",
    query: `
      select distinct format('%s: %s', l.name, said[1])
        from (select o.name, regexp_replace(o.text, '--[^\\n]*|/\\*.*?\\*/', '', 'g') as text
                from (${ownLogic}
                      union all
                      select r.name, pg_get_viewdef(r.oid) from (${ownRelations}) r where r.relkind = 'v') o) l
       cross join (values ${comparisonsOfActionTypes.map(({ where, literal }) => `($re$${where}$re$, $re$${literal}$re$)`).join(", ")}) as form (place, literal)
       cross join lateral regexp_matches(l.text, '\\maction_type' || form.place, 'gi') as found
       cross join lateral regexp_matches(found[1], form.literal, 'g') as said
       where said[1] <> all (tokenbook.reserved_action_types())
         and said[1] <> 'deduction' -- what spending is called that its caller gives no name`,
  },
  select_without_columns: {
    why: "Citus refuses it where it is of tables on other machines: select 1 (decision 78).",
    query: `select b.name from (${ownBodies}) b where b.text ~* '\\mselect\\s+from\\M'`,
  },
  volatile_in_a_change: {
    why: "Each machine would have another value, and Citus refuses it: read the clock into a variable before the statement (decision 78).",
    query: `
      select distinct b.name
        from (${ownBodies}) b
       cross join lateral (
         select regexp_matches(b.text, '\\m(update\\s+(?:public|tokenbook)\\.\\w+[^;]*);', 'gi')
         union all
         select regexp_matches(b.text, '\\m(on\\s+conflict[^;]*)', 'gi')) as part (said)
       where part.said[1] ~* '\\m(clock_timestamp|random|gen_random_uuid|nextval|statement_timestamp|timeofday)\\s*\\('
         and b.proname not in ('write_offer', 'move_past') -- a parameter of a statement; the test clock`,
  },
  lock_without_its_user: {
    why: "Citus locks rows of one machine at a time: say user_id = and whose, or have it otherwise in supabase/distributed/layer.sql (decision 78).",
    query: `
      select distinct b.name
        from (${ownBodies}) b
       cross join lateral regexp_split_to_table(b.text, ';|\\m(?:loop|then)\\M') as part (said)
       where part.said ~* '\\mfor\\s+(no\\s+key\\s+)?update\\M' and part.said !~* '\\muser_id = (?!any)'
         and exists (
           select from (${ownRelations}) r
             join pg_attribute a on a.attrelid = r.oid and a.attname = 'user_id' and a.attnotnull
            where r.relkind in ('r', 'p') and part.said ~ format('\\m%s\\.%s\\M', r.nspname, r.relname))
         and b.proname <> all (${array(lockingSeveral)})`,
  },
  variable_of_a_view: {
    why: "A machine that is given the function knows the view only later, and refuses it: a record, or a table's type (decision 78).",
    query: `
      select b.name from (${ownBodies}) b
       where exists (
         select from (${ownRelations}) r
          where r.relkind = 'v' and b.text ~ format('\\mdeclare\\M.*\\m\\w+\\s+(constant\\s+)?%s\\.%s\\s*(;|:=)', r.nspname, r.relname))`,
  },
  swallowed_errors: {
    why: "'when others' hides cancelled queries, deadlocks and our own refusals from the caller.",
    query: `select l.name from (${ownLogic}) l where l.text ~* '\\mwhen\\s+others\\M'`,
  },
  into_strict: {
    why: "It raises an error that is in no registry; ask whether a row was found, and refuse by slug.",
    query: `select l.name from (${ownLogic}) l where l.text ~* '\\minto\\s+strict\\M'`,
  },
  caller_compared_with_not_equal: {
    why: "tokenbook.caller_id() is null for the server and for anon, and null <> anything is not true: the check lets them pass. Use is distinct from.",
    query: `
      select l.name from (${ownLogic}) l
       where l.text ~* '\\mtokenbook\\.caller_id\\(\\)(\\s+as\\s+\\w+)?[\\s)]*(<>|!=)'
          or l.text ~* '(<>|!=)[\\s(]*(select\\s+)?tokenbook\\.caller_id\\(\\)'`,
  },
  caller_by_auth_uid: {
    why: "auth.uid() fails with 22P02 for a user who signs in with Clerk, Auth0 or Firebase: ask tokenbook.caller_id().",
    query: `
      select l.name from (${ownLogic}) l
       where l.text ~* '\\mauth\\.uid\\(\\)' and not starts_with(l.name, 'user_profiles: ') and not starts_with(l.name, 'public.user_profiles: ') -- the app's own`,
  },
  view_without_security_invoker: {
    why: "It reads with its owner's rights, past row level security.",
    query: `
      select r.name from (${ownRelations}) r
       where r.relkind = 'v'
         and not exists (
           select from pg_options_to_table(r.reloptions) o
            where o.option_name = 'security_invoker' and o.option_value::boolean)`,
  },
  materialized_view: {
    why: "Row level security does not reach it.",
    query: `select r.name from (${ownRelations}) r where r.relkind = 'm'`,
  },
  table_without_row_level_security: {
    why: "One grant too many, and every user reads every row.",
    query: `select r.name from (${ownRelations}) r where r.relkind in ('r', 'p') and not r.relrowsecurity`,
  },
  table_without_replica_identity: {
    why: "Once a project publishes all of its tables, Postgres refuses every update and delete of it.",
    query: `
      select r.name from (${ownRelations}) r
       where r.relkind in ('r', 'p') and r.relreplident <> 'f'
         and not exists (
           select from pg_index i
            where i.indrelid = r.oid and case r.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end)`,
  },
  policy_wider_than_one_role_and_verb: {
    why: "FOR ALL and TO PUBLIC let in what nobody thought of when it was written.",
    query: `
      select format('%s: policy %I', p.polrelid::regclass, p.polname) from pg_policy p
        join (${ownRelations}) r on r.oid = p.polrelid
       where p.polcmd = '*' or 0 = any (p.polroles)`,
  },
  rows_of_everyone: {
    why: "A policy that does not ask who is reading shows everybody everything; only what things cost and are is for everybody.",
    query: `
      select format('%s: policy %I', p.polrelid::regclass, p.polname) from pg_policy p
        join (${ownRelations}) r on r.oid = p.polrelid
       where ${readByClients}
         and r.oid not in (
           select to_regclass(price)::oid from unnest(array['public.token_plans', 'public.token_packs', 'public.token_model_prices', 'public.token_model_rates',
             'public.token_action_costs', 'public.token_default_spend_caps', 'public.token_grant_types']) price)`,
  },
  internal_relation_readable: {
    why: "What is in tokenbook is for the functions: no caller has a use for it, and seeing that it exists is too much. But for what a view in public reads with its caller's rights.",
    query: `
      select format('%s: %s', r.name, role) from (${ownRelations}) r
       cross join unnest(array['anon', 'authenticated', 'service_role']) role
       where r.nspname = 'tokenbook' and (r.name <> 'tokenbook.subscriptions' or role = 'anon')
         and case when r.relkind = 'S' then has_sequence_privilege(role, r.oid, 'select')
                  when r.relkind in ('r', 'p', 'v', 'm', 'f') then has_any_column_privilege(role, r.oid, 'select') end`,
  },
  files_listed_by_anyone: {
    why: "Anybody with a public file's address can fetch it; a policy that does not check the caller lists them all.",
    query: `
      select format('%s: policy %I', p.polrelid::regclass, p.polname) from pg_policy p
       where p.polrelid = to_regclass('storage.objects') and ${readByClients}`,
  },
  cascade_into_the_books: {
    why: "Money outlives the user: a row deleted elsewhere must not take records with it, or change them.",
    query: `
      select format('%s: %I', c.conrelid::regclass, c.conname) from pg_constraint c
        join (${ownRelations}) r on r.oid = c.conrelid
       where c.contype = 'f'
         and (c.confdeltype in ('c', 'n', 'd') or c.confupdtype in ('c', 'n', 'd'))
         and r.oid is distinct from to_regclass('public.user_profiles')`,
  },
  overloaded_function: {
    why: "The API cannot tell overloads apart (PGRST203), and an old signature stays callable beside the new one.",
    query: `
      select f.name from (
        select f.name, count(*) over (partition by f.proname) as overloads
          from (${ownFunctions}) f where f.nspname = 'public') f
       where f.overloads > 1`,
  },
  array_parameter: {
    why: "A JSON array nested seven deep fails in the API's cast (54000), before the function can refuse it: take jsonb.",
    query: `
      select f.name from (${ownFunctions}) f
       where f.nspname = 'public'
         and exists (select from unnest(f.proargtypes::oid[]) a (type)
                       join pg_type t on t.oid = a.type and t.typcategory = 'A')`,
  },
  missing_comment: {
    why: "The comment is the documentation: docs/reference.md is made from it. (An older name's columns are explained where they are.)",
    query: `
      select f.name from (${ownFunctions}) f where obj_description(f.oid, 'pg_proc') is null
      union all
      select r.name from (${ownRelations}) r
       where r.relkind in ('r', 'p', 'v', 'm', 'f') and obj_description(r.oid, 'pg_class') is null
      union all
      select format('%s.%I', r.name, a.attname) from (${ownRelations}) r
        join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
       where r.relkind in ('r', 'p', 'v', 'm', 'f') and col_description(r.oid, a.attnum) is null
         and not r.relispartition -- they are its table's
         and not (r.relkind = 'v' and r.name = any (${array(ownNames.relations)}))`,
  },
} satisfies Record<string, Lint>;

export type LintName = keyof typeof lints;

/** For each lint, the objects that break its rule. */
export type Findings = Record<LintName, string[]>;

/** The objects of a database that break each rule, qualified and sorted; empty arrays where all is well. */
export async function runLints(databaseUrl: string): Promise<Findings> {
  return withConnection(databaseUrl, lintsOf);
}

/** The same as a connection of {@link withConnection} sees it, inside a transaction too. */
export async function lintsOf(client: Client): Promise<Findings> {
  const findings: [string, string[]][] = [];
  for (const [name, { query }] of Object.entries(lints)) {
    const { rows } = await client.query<[string]>({ text: query, rowMode: "array" });
    findings.push([name, rows.map(([object]) => object).toSorted()]);
  }
  return Object.fromEntries(findings) as Findings;
}
