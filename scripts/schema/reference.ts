import { describeApi } from "./api-description.ts";
import type { ApiDescription, ApiRelation, Column } from "./api-description.ts";
import { describeLists } from "./lists.ts";
import { readShapes, type Shapes } from "./reference/answer-shapes.ts";
import type { Json } from "./reference/example-calls.ts";
import { renderFunctions, renderIndex, renderShapes } from "./reference/functions.ts";
import { Words } from "./reference/words.ts";

/** Where the reference stands, relative to the project. */
export const referenceFile = "docs/reference.md";

/**
 * The text of docs/reference.md: comments, signatures and rights of schema `public` and the lists from a database, the
 * shapes of answers from their types, and what the examples answered.
 */
export async function generateReference(
  databaseUrl: string,
  answers: ReadonlyMap<string, Json>,
  shapes: Shapes = readShapes(),
): Promise<string> {
  return renderReference(await describeApi(databaseUrl), await describeLists(databaseUrl), answers, shapes);
}

/** An API in Markdown. Columns are lists, not tables: a changed comment then is one changed line. */
function renderReference(
  api: ApiDescription,
  lists: string,
  answers: ReadonlyMap<string, Json>,
  shapes: Shapes,
): string {
  const tables = api.relations.filter(({ kind }) => kind === "table");
  const views = api.relations.filter(({ kind }) => kind === "view");
  const words = new Words(api);
  return [
    "# Reference",
    "What the API offers, made by `npm run reference`: sentences, arguments and rights come from the comments and signatures in `supabase/schemas/`, the fields of answers from `scripts/schema/reference/other-answers.ts` and the package's `answers.ts`, the examples from `scripts/schema/reference/example-calls.ts`.",
    "[Functions](#functions) · [shapes in answers](#shapes-in-answers) · [lists](#lists) · [tables](#tables) · [views](#views) · [errors](errors.md)",
    "## Functions",
    "Called with `supabase.rpc(name, arguments)`: one JSON object, and nothing else ([what holds where](guides/calling.md)). An argument with a default may be left out. Functions that only read answer GET too, all others POST.",
    'Amounts are JSON numbers: whole, and written out (`1000`, not `1e3`). A JSON string in the place of one is read as Postgres reads a number in text, which is more than a client may expect: `"16"` is 16, `"0x10"` is 16, `"0b11"` is 3 and `"1_000"` is 1,000; `"1,000"`, `"1e3"` and `"1.5"` are refused. The SQL cannot tell them apart; a client that passes on what people typed must make a number of it first. The edge functions take numbers only.',
    "An admin is one by their token and by the list of admins; what is for a user is refused for another's account. Each function may also be refused with what is not repeated below: `not_authenticated`, `subject_not_registered` and `invalid_user_id` say that it is not clear who calls or about whom, `invalid_request` that the body is not one object, `account_lost` that a part of the user's books is gone ([errors](errors.md)).",
    "Every example runs as it stands, in each of its forms, against the demo data of `npm start`, and answers what is shown. Ids and moments are replaced by ones that stay the same: it is always noon of 15 January 2026 there. In TypeScript, `supabase` is the client of a signed-in user (alice), `admin` an admin's, and `server` one with the secret key. In a shell, `$USER_TOKEN` and `$ADMIN_TOKEN` are access tokens of their sessions. SQL is run as the database's owner.",
    renderIndex(api, words),
    ...renderFunctions(api, words, shapes, answers),
    "## Shapes in answers",
    "What occurs in several answers, or is too large for a line.",
    ...renderShapes(words, shapes),
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
