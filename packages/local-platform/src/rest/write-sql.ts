import type { Column, Table } from "./catalog.ts";
import { NotInSchema } from "./errors.ts";
import type { Payload } from "./payload.ts";
import type { Condition } from "./query-language.ts";
import { qualified, quote, whereSql } from "./read-sql.ts";
import type { Values } from "./read-sql.ts";

/** Rows to write: one JSON text, which Postgres takes apart itself. */
export interface NewRows {
  columns: readonly Column[];
  json: string;
  /** A column that a row does not have gets its default instead of null. */
  fillsDefaults: boolean;
}

/** What happens to a new row whose key exists. */
export interface OnConflict {
  columns: readonly string[];
  resolution: "merge-duplicates" | "ignore-duplicates";
}

/**
 * The rows of a body, with the columns that they have.
 *
 * @throws NotInSchema `PGRST204` for a column that the table does not have.
 */
export function newRows(table: Table, payload: Payload & { kind: "json" }, fillsDefaults: boolean): NewRows {
  const columns = payload.columns.map((name) => table.columns.get(name) ?? noColumn(table, name));
  return { columns, json: payload.json, fillsDefaults };
}

function noColumn(table: Table, name: string): never {
  throw new NotInSchema(
    400,
    "PGRST204",
    `Could not find the '${name}' column of '${table.name}' in the schema cache`,
  );
}

/**
 * An insert.
 *
 * @param put conditions that the new row must meet, of a PUT.
 * @param returning columns; none returns a row for each row all the same.
 */
export function insertSql(
  table: Table,
  rows: NewRows,
  conflict: OnConflict | undefined,
  put: readonly Condition[],
  returning: readonly string[],
  values: Values,
): string {
  const names = rows.columns.map(({ name }) => quote(name));
  const selected = names.map((name) => `pgrst_body.${name}`).join(", ");
  const isMerge = conflict?.resolution === "merge-duplicates";
  // Rows are counted as they come, and those that turn out to be known are taken off again.
  const where = put.length > 0 || isMerge ? ` where ${counted("+ 1", "0")}` : "";
  const and = put.length > 0 ? whereSql(put, "pgrst_body", table, values).replace(/^ where/, " and") : "";
  const into = names.length > 0 ? `(${names.join(", ")})` : "";
  return `insert into ${qualified(table.name)} ${into} select ${selected} from ${bodyRows(rows, values)}${where}${and}${onConflict(conflict, names)} ${returned(table, returning)}`;
}

function onConflict(conflict: OnConflict | undefined, names: readonly string[]): string {
  if (conflict === undefined || conflict.columns.length === 0) return "";
  const target = ` on conflict (${conflict.columns.map(quote).join(", ")})`;
  if (conflict.resolution === "ignore-duplicates" || names.length === 0) return `${target} do nothing`;
  const set = names.map((name) => `${name} = excluded.${name}`).join(", ");
  return `${target} do update set ${set} where ${counted("- 1", "-1")}`;
}

function counted(step: string, never: string): string {
  const known = "coalesce(nullif(current_setting('pgrst.inserted', true), '')::int, 0)";
  return `set_config('pgrst.inserted', (${known} ${step})::text, true) <> '${never}'`;
}

/** How many rows an insert with {@link OnConflict} has added, after it. */
export const INSERTED = "nullif(current_setting('pgrst.inserted', true), '')";

/** An update. Nothing to set changes nothing. */
export function updateSql(
  table: Table,
  rows: NewRows,
  conditions: readonly Condition[],
  returning: readonly string[],
  values: Values,
): string {
  const name = qualified(table.name);
  if (rows.columns.length === 0) {
    const columns = returning.map((column) => columnOf(quote(table.name), column)).join(", ") || "null";
    return `select ${columns} from ${name} where false`;
  }
  const set = rows.columns.map((column) => `${quote(column.name)} = pgrst_body.${quote(column.name)}`);
  const from = bodyRows(rows, values);
  return `update ${name} set ${set.join(", ")} from ${from}${whereSql(conditions, name, table, values)} ${returned(table, returning)}`;
}

export function deleteSql(
  table: Table,
  conditions: readonly Condition[],
  returning: readonly string[],
  values: Values,
): string {
  const name = qualified(table.name);
  return `delete from ${name}${whereSql(conditions, name, table, values)} ${returned(table, returning)}`;
}

function returned(table: Table, columns: readonly string[]): string {
  const list = columns.map((column) => columnOf(qualified(table.name), column)).join(", ");
  return `returning ${list || "1"}`;
}

function columnOf(here: string, column: string): string {
  return `${here}.${column === "*" ? "*" : quote(column)}`;
}

function bodyRows({ columns, json, fillsDefaults }: NewRows, values: Values): string {
  const isObject = /^\s*\{/.test(json);
  const type = fillsDefaults ? "jsonb" : "json";
  const body = `${values.add(json)}::${type}`;
  if (columns.length === 0) {
    // An object without keys is a row of defaults; an array has as many as it has objects.
    return isObject
      ? `(select ${body}) pgrst_payload, lateral (values (1)) pgrst_body`
      : `${type}_array_elements(${body}) pgrst_body`;
  }
  const rows = fillsDefaults ? withDefaults(columns, body, isObject) : { from: "", json: body };
  const take = `${type}_to_record${isObject ? "" : "set"}`;
  const definition = columns.map((column) => `${quote(column.name)} ${column.type}`).join(", ");
  return `${rows.from}${take}(${rows.json}) as pgrst_body (${definition})`;
}

function withDefaults(
  columns: readonly Column[],
  body: string,
  isObject: boolean,
): { from: string; json: string } {
  const pairs = columns
    .filter((column) => column.default !== null)
    .map((column) => `'${column.name.replaceAll("'", "''")}', ${column.default}`);
  const defaults = `jsonb_build_object(${pairs.join(", ")})`;
  const filled = isObject
    ? `select ${defaults} || ${body} as rows`
    : `select jsonb_agg(${defaults} || element) as rows from jsonb_array_elements(${body}) element`;
  return { from: `lateral (${filled}) pgrst_defaults, lateral `, json: "pgrst_defaults.rows" };
}

/** The names of a primary key's columns and their values in the one new row, as filters: `id=eq.4`. */
export function locationSql(primaryKey: readonly string[], values: Values): string {
  const names = values.add(`{${primaryKey.map((name) => JSON.stringify(name)).join(",")}}`);
  return `case when count(_rows) = 1 then (
            select json_agg(json_build_array(key, coalesce('eq.' || value, 'is.null')))
              from (select row_to_json(_) as row from pgrst_source as _ limit 1) data, json_each_text(data.row)
             where key = any(${names}::text[])
          )::text end`;
}
