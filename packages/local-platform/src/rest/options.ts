import type { ApiDatabase, Statement } from "./database.ts";
import { Unreachable } from "./database.ts";
import { answerUnreachable, isDatabaseError, postgrestError } from "./errors.ts";

/** What a path below /rest/v1 stands for. */
export type Resource = { kind: "root" } | { kind: "table" | "function"; name: string };

/**
 * Answers OPTIONS: the methods that a table or a function knows, for any caller. A view's are those that
 * Postgres can carry out on it.
 */
export async function answerOptions(resource: Resource, database: ApiDatabase): Promise<Response> {
  if (resource.kind === "root") return allow("OPTIONS,GET,HEAD");
  const { kind, name } = resource;
  try {
    const [row] = await database.run([["search_path", ""]], METHODS[kind](name), true);
    if (row !== undefined) return allow(row["methods"]!);
  } catch (error) {
    if (error instanceof Unreachable) return answerUnreachable(error.busy);
    // A name with a zero byte is the name of nothing.
    if (!isDatabaseError(error)) throw error;
  }
  return kind === "table"
    ? postgrestError(404, "PGRST205", `Could not find the table 'public.${name}' in the schema cache`)
    : postgrestError(404, "PGRST202", `Could not find the function public.${name} in the schema cache`);
}

function allow(methods: string): Response {
  return new Response(null, { status: 200, headers: { allow: methods } });
}

const METHODS: Record<"table" | "function", (name: string) => Statement> = {
  // The bits of pg_relation_is_updatable are Postgres' commands: 4 update, 8 insert, 16 delete.
  table: (name) => ({
    text: `
      select concat_ws(',', 'OPTIONS,GET,HEAD',
               case when can & 8 = 8 then 'POST' end,
               case when can & 12 = 12 and has_key then 'PUT' end,
               case when can & 4 = 4 then 'PATCH' end,
               case when can & 16 = 16 then 'DELETE' end) as methods
        from (select case when relkind in ('r', 'p') then 28
                          when relkind = 'm' then 0
                          else pg_catalog.pg_relation_is_updatable(oid, true) end as can,
                     exists (select from pg_catalog.pg_constraint where conrelid = c.oid and contype = 'p') as has_key
                from pg_catalog.pg_class c
               where relnamespace = 'public'::regnamespace and relname = $1
                 and relkind in ('r', 'v', 'm', 'f', 'p') and not relispartition) as found`,
    values: [name],
  }),
  function: (name) => ({
    text: `
      select case provolatile when 'v' then 'OPTIONS,POST' else 'OPTIONS,GET,HEAD,POST' end as methods
        from pg_catalog.pg_proc
       where pronamespace = 'public'::regnamespace and proname = $1 and prokind = 'f'
         and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
       order by provolatile = 'v' limit 1`,
    values: [name],
  }),
};
