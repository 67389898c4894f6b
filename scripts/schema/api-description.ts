import { withConnection } from "../../packages/tokenbook/src/database/connection.ts";

/** A parameter of a function, or a column of a table: name, SQL type, and what it defaults to. */
export interface Field {
  readonly name: string;
  readonly type: string;
  /** SQL expression; null when there is none. */
  readonly default: string | null;
}

export interface Column extends Field {
  readonly nullable: boolean;
  readonly comment: string | null;
}

export interface ApiFunction {
  readonly name: string;
  readonly parameters: readonly Field[];
  readonly returns: string;
  /** Of a function that returns a table: its columns. */
  readonly columns: readonly { readonly name: string; readonly type: string }[] | null;
  /** Stable and immutable functions answer GET too. */
  readonly volatility: "volatile" | "stable" | "immutable";
  /** Roles of the API that may execute it. */
  readonly roles: readonly string[];
  readonly comment: string | null;
}

export interface ApiRelation {
  readonly name: string;
  readonly kind: "table" | "view";
  readonly columns: readonly Column[];
  /** Verbs that each role of the API has, lowercase and sorted. Roles without any are left out. */
  readonly privileges: readonly { readonly role: string; readonly verbs: readonly string[] }[];
  /** Names of the row level security policies, sorted. */
  readonly policies: readonly string[];
  readonly comment: string | null;
}

/** What the API of a database offers, sorted by name. */
export interface ApiDescription {
  readonly functions: readonly ApiFunction[];
  readonly relations: readonly ApiRelation[];
}

/** Reads what schema `public` of a database offers, from its catalog alone. */
export async function describeApi(databaseUrl: string): Promise<ApiDescription> {
  return withConnection(databaseUrl, async (client) => {
    const functions = await client.query<ApiFunction>(functionsQuery);
    const relations = await client.query<ApiRelation>(relationsQuery);
    return { functions: functions.rows, relations: relations.rows };
  });
}

const apiRoles = `unnest(array['anon', 'authenticated', 'service_role']) with ordinality r (role, position)`;

/** `'deduction'::text` → `'deduction'`, `NULL::jsonb` → `null`: the cast repeats the type beside it. */
const withoutCast = (expression: string) =>
  `regexp_replace(regexp_replace(${expression}, '^NULL(?=::|$)', 'null'), '::[a-z ]+$', '')`;

const functionsQuery = `
  select p.proname as name,
         coalesce((
           select json_agg(json_build_object(
                    'name', a.name,
                    'type', format_type(a.type, null),
                    'default', ${withoutCast("pg_get_function_arg_default(p.oid, a.position::integer)")})
                  order by a.position)
             from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
                    with ordinality a (type, name, mode, position)
            where coalesce(a.mode, 'i') in ('i', 'b', 'v')), '[]') as parameters,
         pg_get_function_result(p.oid) as returns,
         (select json_agg(json_build_object('name', a.name, 'type', format_type(a.type, null)) order by a.position)
            from unnest(p.proallargtypes, p.proargnames, p.proargmodes) with ordinality a (type, name, mode, position)
           where a.mode = 't') as columns,
         case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as volatility,
         coalesce((select json_agg(r.role order by r.position) from ${apiRoles}
                    where has_function_privilege(r.role, p.oid, 'execute')), '[]') as roles,
         obj_description(p.oid, 'pg_proc') as comment
    from pg_proc p
   where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
   order by p.proname collate "C", p.oid::regprocedure::text collate "C"`;

const relationsQuery = `
  select c.relname as name,
         case when c.relkind = 'v' then 'view' else 'table' end as kind,
         (select json_agg(json_build_object(
                   'name', a.attname,
                   'type', format_type(a.atttypid, a.atttypmod),
                   'default', ${withoutCast("pg_get_expr(d.adbin, d.adrelid)")},
                   'nullable', not a.attnotnull,
                   'comment', col_description(c.oid, a.attnum))
                 order by a.attnum)
            from pg_attribute a
            left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
         coalesce((
           select json_agg(json_build_object('role', g.role, 'verbs', g.verbs) order by g.position)
             from (
               select r.role, r.position, json_agg(verb order by verb) as verbs
                 from ${apiRoles}
                cross join unnest(array['select', 'insert', 'update', 'delete']) verb
                where has_table_privilege(r.role, c.oid, verb)
                group by r.role, r.position) g), '[]') as privileges,
         coalesce((select json_agg(p.polname order by p.polname) from pg_policy p where p.polrelid = c.oid), '[]') as policies,
         obj_description(c.oid, 'pg_class') as comment
    from pg_class c
   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
   order by c.relname collate "C"`;
