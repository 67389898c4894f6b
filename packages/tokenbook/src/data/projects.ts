import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/**
 * Whether a database is somebody's project that this repository's own migrations are not for: there are
 * relations or functions in `public` that no extension brought, and neither the baseline nor the clean-up of
 * November 2025 has run there.
 */
export async function isAnothersProject(client: SqlClient): Promise<boolean> {
  const [has] = await select<{ versions: boolean; objects: boolean }>(
    client,
    `select to_regclass('supabase_migrations.schema_migrations') is not null as versions,
            exists (
              select from pg_depend n
               where n.refclassid = 'pg_namespace'::regclass and n.refobjid = 'public'::regnamespace
                 and n.classid in ('pg_class'::regclass, 'pg_proc'::regclass)
                 and not exists (
                   select from pg_depend e where e.classid = n.classid and e.objid = n.objid and e.deptype = 'e')) as objects`,
  );
  if (!has!.objects) return false;
  if (!has!.versions) return true;
  const [own] = await select<{ applied: boolean }>(
    client,
    `select exists (
       select from supabase_migrations.schema_migrations where version in ('20251113000000', '20251114000000')) as applied`,
  );
  return !own!.applied;
}
