import { describeApi } from "./api-description.ts";
import type { ApiDescription, ApiFunction, ApiRelation, Column, Field } from "./api-description.ts";
import { describeLists } from "./lists.ts";

/** Where the reference stands, relative to the project. */
export const referenceFile = "docs/reference.md";

/** The text of docs/reference.md for a database: comments, signatures and rights of schema `public`, and the lists. */
export async function generateReference(databaseUrl: string): Promise<string> {
  return renderReference(await describeApi(databaseUrl), await describeLists(databaseUrl));
}

/** An API in Markdown. Columns are lists, not tables: a changed comment then is one changed line. */
export function renderReference(api: ApiDescription, lists: string): string {
  const tables = api.relations.filter(({ kind }) => kind === "table");
  const views = api.relations.filter(({ kind }) => kind === "view");
  return [
    "# Reference",
    "What the API offers, generated from the database by `npm run reference`. To change a sentence here, change the comment in `supabase/schemas/`. Errors are explained in [errors.md](errors.md).",
    "## Functions",
    "Called with `supabase.rpc(name, arguments)`: one JSON object, and nothing else ([what holds where](guides/calling.md)). A parameter with a default may be left out.",
    'Amounts are JSON numbers: whole, and written out (`1000`, not `1e3`). A JSON string in the place of one is read as Postgres reads a number in text, which is more than a client may expect: `"16"` is 16, `"0x10"` is 16, `"0b11"` is 3 and `"1_000"` is 1,000; `"1,000"`, `"1e3"` and `"1.5"` are refused. The SQL cannot tell them apart; a client that passes on what people typed must make a number of it first. The edge functions take numbers only.',
    ...api.functions.map(renderFunction),
    "## Lists",
    lists,
    "## Tables",
    "Only the functions write Tokenbook's tables. A signed-in user reads the rows that the policies give them.",
    ...tables.map(renderRelation),
    "## Views",
    ...views.map(renderRelation),
  ]
    .join("\n\n")
    .concat("\n");
}

function renderFunction(fn: ApiFunction): string {
  const parameters = fn.parameters.map((parameter) => `  ${signatureOf(parameter)}`).join(",\n");
  return [
    `### ${fn.name}`,
    `\`\`\`sql\n${fn.name}(${parameters && `\n${parameters}\n`}) returns ${fn.returns}\n\`\`\``,
    fn.comment ?? "",
    `May be called by: ${listed(fn.roles)}. ${fn.volatility === "volatile" ? "Changes something: POST." : "Only reads: GET or POST."}`,
  ].join("\n\n");
}

function renderRelation(relation: ApiRelation): string {
  const rights = relation.privileges.map(({ role, verbs }) => `\`${role}\` may ${verbs.join(", ")}`);
  const policies = relation.policies.map((policy) => `“${policy}”`);
  return [
    `### ${relation.name}`,
    relation.comment ?? "",
    `Rights: ${rights.join("; ") || "none"}.${policies.length > 0 ? ` Policies: ${policies.join(", ")}.` : ""}`,
    relation.columns.map((column) => renderColumn(column, relation.kind)).join("\n"),
  ].join("\n\n");
}

function renderColumn(column: Column, kind: ApiRelation["kind"]): string {
  // Postgres does not say of a view's column whether it can be null
  const nullable = kind === "view" || column.nullable ? "" : " not null";
  return `- \`${column.name}\` ${column.type}${nullable}: ${column.comment ?? ""}`;
}

function signatureOf(field: Field): string {
  // a computed field's parameter has no name
  return `${field.name ? `${field.name} ` : ""}${field.type}${field.default === null ? "" : ` default ${field.default}`}`;
}

function listed(roles: readonly string[]): string {
  return roles.map((role) => `\`${role}\``).join(", ") || "nobody";
}
