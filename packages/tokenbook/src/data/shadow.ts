import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** The counter of the project's own that runs beside the books, as `tokenbook.shadow` has it. */
export interface Shadow {
  source: string;
  schema: string;
  table: string;
  userColumn: string;
  amountColumn: string;
  /** How many tokens one of its units is, exact. */
  times: string;
  /** `shadow`: the books follow it. Else the books are right, and it is kept in step with them. */
  mode: "shadow" | "writable" | "read_only";
  /** Of the grants that increases become, and how long these last; null: as long as their type. */
  grantType: string;
  lifetimeDays: number | null;
  startedAt: string;
  switchedAt: string | null;
  /** When a run last wrote the balances there. */
  keptAt: string | null;
  /** Whether the column is. */
  isThere: boolean;
  /** Whether what is written there is noted, or refused. */
  isSeen: boolean;
  /** What became of the counter since it is followed, and what to do; null: it is as it was. */
  fault: string | null;
  way: string | null;
  /** Where its table is by now, which may have been renamed; null: it is gone. */
  now: { schema: string; table: string } | null;
  /** Whether it is written down what the books have of it; not, where a run was stopped in the middle. */
  isBegun: boolean;
}

/** Whether the books are right, and the counter follows them. */
export const areBooksRight = (mode: Shadow["mode"] | "none"): boolean =>
  mode === "writable" || mode === "read_only";

/** How far the books are behind a counter. */
export interface Behind {
  /** Changes that wait to be booked; those that could not be are among them. */
  changes: number;
  /** In seconds; null where nothing waits. */
  oldest: number | null;
  /** Changes that could not be booked. */
  failed: number;
}

/** The shadow that runs; undefined, when there is none. */
export async function readShadow(client: SqlClient): Promise<Shadow | undefined> {
  const [shadow] = await select<Shadow>(
    client,
    `select s.source, s.schema_name as schema, s.table_name as table, s.user_column as "userColumn",
            s.amount_column as "amountColumn", s.times::text as times, s.mode, s.is_begun as "isBegun",
            s.grant_type as "grantType", s.lifetime_days as "lifetimeDays",
            to_jsonb(s.kept_at) #>> '{}' as "keptAt",
            e.is_there as "isThere", e.is_seen as "isSeen", e.fault, e.way,
            case when e.table_name is not null then jsonb_build_object('schema', e.schema_name, 'table', e.table_name) end as now,
            to_jsonb(s.started_at) #>> '{}' as "startedAt", to_jsonb(s.switched_at) #>> '{}' as "switchedAt"
       from tokenbook.shadow s
      cross join tokenbook.examine_shadow() e`,
  );
  return shadow;
}

/** How far behind the books are. */
export async function readBehind(client: SqlClient): Promise<Behind> {
  const [row] = await select<{ changes: string; oldest: string | null; failed: string }>(
    client,
    `select count(*)::text as changes, count(*) filter (where c.error is not null)::text as failed,
            extract(epoch from clock_timestamp() - min(c.changed_at))::text as oldest
       from tokenbook.shadow_changes c`,
  );
  return {
    changes: Number(row!.changes),
    oldest: row!.oldest === null ? null : Math.max(0, Math.round(Number(row!.oldest))),
    failed: Number(row!.failed),
  };
}

/** The changes that could not be booked are tried again. */
export async function retryFailed(client: SqlClient): Promise<void> {
  await client.query("update tokenbook.shadow_changes set error = null where error is not null");
}
