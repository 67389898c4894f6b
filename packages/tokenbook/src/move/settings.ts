/** What two projects must agree on before a user goes from one to the other: the catalogue and the rules. */
import type pg from "pg";
import { inTransaction, select } from "../data/client.ts";

interface SettingsTable {
  name: string;
  /** What a row is called, in SQL; x is the row. */
  key: string;
  /** Columns in which two projects may differ. */
  own: readonly string[];
  /** Which rows, in SQL. */
  where?: string;
}

const dates = ["created_at", "updated_at"] as const;

/** In the order in which they are copied. */
const settingsTables: SettingsTable[] = [
  { name: "public.token_grant_types", key: "x.grant_type", own: dates },
  { name: "public.token_plans", key: "x.plan_type", own: [...dates, "given_to_users_since"] },
  { name: "public.token_packs", key: "x.pack_type", own: dates },
  { name: "public.token_action_costs", key: "x.action_type", own: [] },
  { name: "public.token_model_prices", key: "x.model || ' ' || x.valid_from", own: [] },
  { name: "public.token_model_rates", key: "x.model_pattern || ' ' || x.valid_from", own: [] },
  {
    name: "public.token_default_spend_caps",
    key: "concat_ws(' ', x.plan_type, x.spend_window)",
    own: ["id", "updated_at", "actor_role", "actor_id", "reason"],
  },
  {
    name: "public.token_alert_rules",
    key: "concat_ws(' ', x.plan_type, x.rule)",
    own: ["id", "updated_at"],
    where: "x.user_id is null",
  },
  { name: "tokenbook.burn_orders", key: "x.since::text", own: [] },
  { name: "tokenbook.chosen_limits", key: "x.name", own: ["chosen_at"] },
  { name: "tokenbook.chosen_model_policy", key: "'chosen'", own: ["chosen_at"] },
  { name: "tokenbook.chosen_trial_policy", key: "'chosen'", own: ["chosen_at"] },
  { name: "tokenbook.chosen_referral_policy", key: "'chosen'", own: ["chosen_at"] },
];

/** How a difference ends that copying takes away, from here or from there. */
export const onlyHere = ": only in the project that they are in";
export const onlyThere = ": only in the project that they go to";

/** In what two projects differ, in words; nothing: in nothing that a move asks for. */
export async function differencesOfSettings(from: pg.Client, to: pg.Client): Promise<string[]> {
  const found: string[] = [];
  for (const table of settingsTables) {
    const [here, there] = [await rowsOf(from, table), await rowsOf(to, table)];
    for (const key of [...new Set([...here.keys(), ...there.keys()])].toSorted()) {
      const [one, other] = [here.get(key), there.get(key)];
      const name = `${table.name.replace("public.", "")} ${key}`;
      if (other === undefined) found.push(name + onlyHere);
      else if (one === undefined) found.push(name + onlyThere);
      else {
        const columns = Object.keys({ ...one, ...other }).filter(
          (column) => JSON.stringify(one[column]) !== JSON.stringify(other[column]),
        );
        if (columns.length > 0) found.push(`${name}: ${columns.join(", ")}`);
      }
    }
  }
  return found;
}

/** Copies what the other project has not; what it has otherwise stays, and is a difference. Returns the rows by table. */
export async function copySettings(from: pg.Client, to: pg.Client): Promise<Record<string, number>> {
  const copied: Record<string, number> = {};
  await inTransaction(to, async () => {
    const [books] = await select<{ are: boolean }>(
      to,
      "select exists (select from public.token_transactions) as are",
    );
    for (const { name, where = "true" } of settingsTables) {
      // of entries that are there an order of burning would say afterwards that they were booked wrongly
      if (name === "tokenbook.burn_orders" && books!.are) continue;
      const [{ columns }] = (await select<{ columns: string }>(
        from,
        "select string_agg(quote_ident(attname), ', ') as columns from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
        [name],
      )) as [{ columns: string }];
      const [{ rows }] = (await select<{ rows: unknown }>(
        from,
        `select coalesce(jsonb_agg(to_jsonb(x)), '[]') as rows from ${name} x where ${where}`,
      )) as [{ rows: unknown }];
      const inserted = await to.query(
        `insert into ${name} (${columns}) select ${columns} from jsonb_populate_recordset(null::${name}, $1) on conflict do nothing`,
        [JSON.stringify(rows)],
      );
      if ((inserted.rowCount ?? 0) > 0) copied[name.replace("public.", "")] = inserted.rowCount!;
    }
    await to.query("select tokenbook.outdate_alert_thresholds()");
    await to.query(
      "update tokenbook.project_settings set is_expiring_first = tokenbook.is_expiring_first_at('infinity') where is_current",
    );
  });
  return copied;
}

async function rowsOf(
  client: pg.Client,
  { name, key, own, where = "true" }: SettingsTable,
): Promise<Map<string, Record<string, unknown>>> {
  const rows = await select<{ key: string; row: Record<string, unknown> }>(
    client,
    `select ${key} as key, to_jsonb(x) - $1::text[] as row from ${name} x where ${where} order by 1`,
    [own],
  );
  return new Map(rows.map((one) => [one.key, one.row]));
}
