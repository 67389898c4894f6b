/** The functions of the reference in Markdown: what each does, takes and answers, and an example of it. */
import type { ApiDescription, ApiFunction } from "../api-description.ts";
import { nameOf, type Shape, type ShapeField, type Shapes } from "./answer-shapes.ts";
import { type Comment, takeApart } from "./comment.ts";
import { type Before, type Example, exampleCalls, type Json } from "./example-calls.ts";
import { inCurl, inSql, inTypeScript, isCall, json } from "./example-forms.ts";
import type { Words } from "./words.ts";

/** What an argument of a name is, wherever a comment does not say more. */
const argumentsByName: Readonly<Record<string, string>> = {
  p_action_type: "what was done",
  p_after: "the users after this id",
  p_all_or_nothing: "true: an item that is refused or short undoes all",
  p_below: "fewer tokens than these",
  p_below_tokens: "when fewer tokens than these can be spent",
  p_burn_order: "fifo or expiring_first",
  p_by: "none, model, action or member",
  p_cached_tokens: "as of track_token_usage",
  p_cents_per_million_tokens: "the price of a million tokens, for worth_cents and margin_cents",
  p_claim_id: "of claim_token_webhooks",
  p_code: "the code",
  p_code_id: "of create_token_code or list_token_codes",
  p_customer_id: "the customer's id at the provider",
  p_delivery_id: "of list_token_webhook_deliveries or claim_token_webhooks",
  p_descending: "false: the other way round",
  p_digest: "the digest of the page before",
  p_endpoint: "the name of an endpoint",
  p_error_message: "of track_token_usage",
  p_event_id: "the event's id at the provider",
  p_event_type: "the event's type, as the provider names it",
  p_for_everyone: "true: for everyone",
  p_from: "the moment at which it begins",
  p_grant_id: "the grant: a row of token_balances",
  p_hold_id: "the hold_id of reserve_tokens",
  p_hours: "of the kind expiring_soon",
  p_idempotency_key: "makes a retry safe for ever",
  p_images: "as of track_token_usage",
  p_input_tokens: "as of track_token_usage",
  p_issuer: "iss of the tokens",
  p_lifetime_days: "how many days a grant lives",
  p_max_accounts: "how many users at most",
  p_member_id: "the member: a user",
  p_metadata: "an object of at most 8 KiB",
  p_model: "the model's name",
  p_model_used: "the model",
  p_name: "its name",
  p_output_tokens: "as of track_token_usage",
  p_pack_type: "a pack of token_packs",
  p_payment_id: "the payment: a row of token_payments",
  p_plan_type: "a plan of token_plans",
  p_provider: "stripe or paypal",
  p_provider_payment_id: "the payment's id at the provider",
  p_provider_subscription_id: "the subscription's id at the provider",
  p_quantity: "how many of the pack",
  p_reason: "1 to 500 characters",
  p_reasoning_tokens: "as of track_token_usage",
  p_reduced_tokens: "of reduced: how many tokens",
  p_referral_code: "the code",
  p_replace: "true, with a reason: puts a mistake right",
  p_request_id: "of claim_token_top_ups",
  p_rule: "the rule's name",
  p_seconds: "as of track_token_usage",
  p_subject: "sub of the tokens",
  p_success: "as of track_token_usage",
  p_take_back: "true: what was spent of it is taken back too",
  p_threshold_percent: "of the kind dropped",
  p_threshold_tokens: "of the kind dropped",
  p_to: "the moment at which it ends",
  p_to_plan: "a plan of token_plans",
  p_tokens: "how many tokens",
  p_tokens_used: "as of track_token_usage",
  p_transaction_id: "the entry's number in the user's ledger",
  p_until: "the users up to this id",
  p_usage_id: "a row of token_usage",
  p_user_id: "the user",
  p_valid_from: "the moment from which on it holds",
  p_valid_until: "the moment at which it ends",
};

/** What each subject has, in the order of the examples. */
function bySubject(
  api: ApiDescription,
): { subject: string; functions: { fn: ApiFunction; example: Example }[] }[] {
  const functions = new Map(api.functions.map((fn) => [fn.name, fn]));
  const subjects = Object.entries(exampleCalls).map(([subject, calls]) => ({
    subject,
    functions: Object.entries(calls).map(([name, example]) => {
      const fn = functions.get(name);
      if (fn === undefined) throw new Error(`There is an example of ${name}, and no such function.`);
      functions.delete(name);
      return { fn, example };
    }),
  }));
  if (functions.size > 0)
    throw new Error(
      `No example of ${[...functions.keys()].join(", ")}: add one to scripts/schema/reference/example-calls.ts.`,
    );
  return subjects;
}

const commentOf = (fn: ApiFunction) => takeApart(fn.comment ?? "");

/** All functions in one table, subject by subject. */
export function renderIndex(api: ApiDescription, words: Words): string {
  const rows = bySubject(api).flatMap(({ subject, functions }) => [
    `| **[${subject}](#${anchorOf(subject)})** | | |`,
    ...functions.map(({ fn }) => {
      const comment = commentOf(fn);
      const does = words.inCell(shortened(comment.does), fn.name);
      return `| [${fn.name}](#${fn.name}) | ${does} | ${shortCallers(fn, comment)} |`;
    }),
  ]);
  return `| Function | What it does | For |\n|---|---|---|\n${rows.join("\n")}`;
}

/** A first sentence up to where it goes into particulars. */
function shortened(sentence: string): string {
  const plain = sentence.replaceAll(/ \([^()]*\)/g, "");
  const [begin] = /^[^:;]{30,}?(?=[:;])/.exec(plain) ?? [plain];
  return begin.replace(/;.*/, "").replace(/\.$/, "");
}

function shortCallers(fn: ApiFunction, { callers }: Comment): string {
  if (!fn.roles.includes("authenticated")) return "server";
  // on one line
  if (callers === undefined || /the (user|payer)/.test(callers)) return "user,\u00A0admin,\u00A0server";
  return "admin,\u00A0server";
}

export const anchorOf = (title: string) =>
  title
    .toLowerCase()
    .replaceAll(/[^\w -]/g, "")
    .replaceAll(" ", "-");

/** A section a subject. */
export function renderFunctions(
  api: ApiDescription,
  words: Words,
  shapes: Shapes,
  answers: ReadonlyMap<string, Json>,
): string[] {
  return bySubject(api).flatMap(({ subject, functions }) => [
    `## ${subject}`,
    ...functions.map(({ fn, example }) => renderFunction(fn, example, words, shapes, answers.get(fn.name))),
  ]);
}

function renderFunction(
  fn: ApiFunction,
  example: Example,
  words: Words,
  shapes: Shapes,
  answer: Json | undefined,
): string {
  const comment = commentOf(fn);
  if (answer === undefined) throw new Error(`The example of ${fn.name} has no answer.`);
  const say = (text: string) => words.inMarkdown(text, fn.name);
  return [
    `### ${fn.name}`,
    say(comment.does),
    say(comment.rest.join(" ")),
    `${say(comment.callers ?? "")} Roles: ${listed(fn.roles)}; ${fn.volatility === "volatile" ? "POST" : "GET or POST"}.`.trim(),
    renderArguments(fn, comment, words),
    renderAnswer(fn, comment, words, shapes),
    renderErrors(comment, words),
    renderExample(fn, example, shapes, answer),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function renderArguments(fn: ApiFunction, comment: Comment, words: Words): string {
  const named = fn.parameters.filter(({ name }) => name);
  if (named.length === 0) return isField(fn) ? "" : "No arguments.";
  const rows = named.map(({ name, type, default: value }) => {
    const said =
      comment.parameters.get(name) || besideName(fn.comment ?? "", name) || (argumentsByName[name] ?? "");
    const byDefault =
      value === null ? "required" : value === "tokenbook.caller_id()" ? "the caller" : `\`${value}\``;
    return `| \`${name}\` | ${shortTypes[type] ?? type} | ${byDefault} | ${words.inCell(said, fn.name)} |`;
  });
  return `| Argument | Type | Default | Meaning |\n|---|---|---|---|\n${rows.join("\n")}`;
}

/** A computed field of a table's rows: its one parameter is the row. */
const isField = (fn: ApiFunction) => fn.parameters.length === 1 && !fn.parameters[0]!.name;

const shortTypes: Record<string, string> = { "timestamp with time zone": "timestamptz" };

/** What stands in brackets beside or with a parameter's name, somewhere in a comment. */
function besideName(comment: string, name: string): string | undefined {
  const [, after, within] =
    new RegExp(String.raw`\b${name} \(([^()]+)\)|\(${name} ([^()]+)\)`).exec(comment) ?? [];
  return after ?? within;
}

function renderAnswer(fn: ApiFunction, comment: Comment, words: Words, shapes: Shapes): string {
  const note =
    comment.answer === ""
      ? ""
      : words.inMarkdown(`${sentence(comment.answer.replace(/^and,? /, "also "))}.`, fn.name);
  if (fn.columns !== null) {
    const typed = shapes.answers[fn.name];
    const described = new Map(
      typed ? shapes.fieldsOf(typed).map((field) => [field.name, field.description]) : [],
    );
    const rows = fn.columns.map(
      ({ name, type }) =>
        `| \`${name}\` | ${shortTypes[type] ?? type} | ${words.inCell(comment.fields.get(name) || inSqlWords(described.get(name) ?? ""), fn.name)} |`,
    );
    return `**Answers** rows:\n\n| Column | Type | Meaning |\n|---|---|---|\n${rows.join("\n")}${note && `\n\n${note}`}`;
  }
  const shape = shapes.answers[fn.name];
  if (shape === undefined || shapes.fieldsOf(shape).length === 0)
    return `**Answers** ${fn.returns}${note && `: ${note}`}`;
  const isList = shapes.resolve(shape).type === "array";
  const rows = renderFields(shape, words, shapes, comment, fn.name);
  const forms = sayForms(shape, words, shapes);
  return [
    `**Answers** ${isList ? "an array of" : "an object"}:`,
    forms,
    `| Field | Type | Meaning |\n|---|---|---|\n${rows.join("\n")}`,
    note,
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** What `success` says, where an answer comes in two forms. */
function sayForms(shape: Shape, words: Words, shapes: Shapes): string {
  const said = shapes.formsOf(shape).flatMap(({ properties, description }) => {
    const success = properties!.success?.const;
    if (success === undefined || description === undefined) return [];
    return [`- \`success\` ${String(success)}: ${words.inMarkdown(uncapitalised(inSqlWords(description)))}`];
  });
  return said.length < 2 ? "" : said.join("\n");
}

/** A row for each field, and for those of objects that have no name of their own. */
function renderFields(
  shape: Shape,
  words: Words,
  shapes: Shapes,
  comment: Comment | undefined,
  own: string,
  path = "",
): string[] {
  return shapes.fieldsOf(shape).flatMap((field) => {
    const here = `${path}${field.name}`;
    const said = comment?.fields.get(here) || inSqlWords(field.description ?? "");
    const type = typeOf(field.types, shapes);
    const row = `| \`${here}\`${field.isAlways ? "" : "?"} | ${type.text.replaceAll("|", "\\|")} | ${words.inCell(said, own)} |`;
    if (type.open === undefined) return [row];
    return [
      row,
      ...renderFields(type.open, words, shapes, comment, own, `${here}${type.isArray ? "[]" : ""}.`),
    ];
  });
}

/** A type in a few words; `open` is an object that needs rows of its own. */
function typeOf(types: readonly Shape[], shapes: Shapes): { text: string; open?: Shape; isArray?: boolean } {
  const texts = new Set<string>();
  let open: Shape | undefined;
  let isArray = false;
  const visit = (shape: Shape, around = (text: string) => text): void => {
    const name = nameOf(shape);
    const resolved = shapes.resolve(shape);
    if (name !== undefined && shapes.tableOf(name) !== undefined) {
      texts.add(around(`row of [${shapes.tableOf(name)}](#${shapes.tableOf(name)})`));
    } else if (name !== undefined && shapes.formsOf(shape).length > 0) {
      texts.add(around(`[${name}](#${anchorOf(name)})`));
    } else if (resolved.anyOf) {
      for (const one of resolved.anyOf) visit(one, around);
    } else if (resolved.enum) {
      for (const value of resolved.enum) texts.add(around(value === null ? "null" : `\`${String(value)}\``));
    } else if (resolved.const !== undefined) {
      texts.add(around(typeof resolved.const === "string" ? `\`${resolved.const}\`` : typeof resolved.const));
    } else if (resolved.type === "array") {
      isArray ||= resolved.items?.properties !== undefined;
      if (resolved.items)
        visit(resolved.items, (text) => around(text.includes(" ") ? `(${text})[]` : `${text}[]`));
    } else if (resolved.properties) {
      texts.add(around("object"));
      open ??= resolved;
    } else if (Array.isArray(resolved.type)) {
      for (const type of resolved.type) texts.add(around(type));
    } else if (resolved.type === "boolean" || resolved.type !== undefined) {
      texts.add(around(resolved.type));
    } else texts.add(around("anything"));
  };
  for (const type of types) visit(type);
  const text = [...texts].toSorted((a, b) => Number(a === "null") - Number(b === "null")).join(" | ");
  return { text, ...(open && { open }), isArray };
}

/** Words of TSDoc, which say an option's name, with that of the parameter. */
const inSqlWords = (text: string) =>
  text
    .replaceAll(
      /`([a-z][A-Za-z]*): "([^"]*)"`/g,
      (_, option: string, value: string) => `\`${inSnake(option)}\` ${value}`,
    )
    .replaceAll(/`([a-z]+[A-Z]\w*)`/g, (_, option: string) => `\`${inSnake(option)}\``)
    .replaceAll("docs/errors.md", "[errors](errors.md)")
    .replaceAll("docs/guides/alerts.md", "[the guide](guides/alerts.md)")
    .replaceAll("\n", " ")
    .trim();
const inSnake = (option: string) => `p_${option.replaceAll(/[A-Z]/g, (it) => `_${it.toLowerCase()}`)}`;

function renderErrors({ errors }: Comment, words: Words): string {
  if (errors.length === 0) return "";
  const said = errors.map(({ slug, note }) => {
    const link = /^[a-z_]+$/.test(slug) ? `[${slug}](errors.md#${slug})` : words.inMarkdown(slug);
    return note === "" ? link : `${link} (${words.inMarkdown(note)})`;
  });
  return `**Errors**: ${said.join(", ")}.`;
}

function renderExample(fn: ApiFunction, example: Example, shapes: Shapes, answer: Json): string {
  const shown = writeAnswer(fn.name, answer, shapes);
  const isLong = shown.split("\n").length > 16;
  const answered = `\`\`\`json\n${shown}\n\`\`\``;
  return [
    `**Example**, ${by[example.by]}.${sayGiven(example)}`,
    `\`\`\`ts\n${inTypeScript(fn.name, example)}\n\`\`\``,
    `<details><summary>The same in SQL and curl</summary>`,
    `\`\`\`sql\n${inSql(fn.name, example, fn.columns !== null)}\n\`\`\``,
    `\`\`\`bash\n${inCurl(fn.name, example)}\n\`\`\``,
    `</details>`,
    isLong ? `<details><summary>The answer</summary>\n\n${answered}\n\n</details>` : answered,
  ].join("\n\n");
}

/** An answer as the page shows it. */
export const writeAnswer = (name: string, answer: Json, shapes: Shapes): string =>
  written(shorter(inOrder(answer, shapes.answers[name], shapes)));

const by: Record<Example["by"], string> = {
  user: "by a signed-in user",
  admin: "by an admin",
  server: "by the server",
};

/** What an example takes for granted. */
function sayGiven(example: Example): string {
  if (!isCall(example)) return "";
  const said = (example.before ?? []).flatMap((step: Before) =>
    Object.entries(step.gives ?? {}).map(([path, value]) => {
      const field = path.split(".").findLast((part) => !/^\d+$/.test(part))!;
      return typeof value === "string" && value.includes(" ")
        ? ""
        : ` \`${value}\` is the \`${field}\` that [${step.call}](#${step.call}) answered.`;
    }),
  );
  if (example.given) said.unshift(` Here ${example.given.words}.`);
  return [...new Set(said)].join("");
}

/** Keys in the order in which the shape has them; Postgres sorts those of jsonb by their length. */
function inOrder(value: Json, shape: Shape | undefined, shapes: Shapes): Json {
  if (shape === undefined || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) {
    const items = shapes.resolve(shape).items ?? shapes.resolve(shape).anyOf?.find((one) => one.items)?.items;
    return (value as Json[]).map((item) => inOrder(item, items ?? shape, shapes));
  }
  const fields = shapes.fieldsOf(shape);
  const known = fields.filter(({ name }) => name in value);
  const others = Object.keys(value).filter((key) => !known.some(({ name }) => name === key));
  const of = value as Record<string, Json>;
  return Object.fromEntries([
    ...known.map((field: ShapeField) => [field.name, inOrder(of[field.name]!, field.types[0], shapes)]),
    ...others.map((key) => [key, of[key]]),
  ]) as Json;
}

/** Two objects of a list show what it is. */
function shorter(value: Json): Json {
  if (Array.isArray(value)) {
    const items = (value as Json[]).map(shorter);
    return items.length > 2 && typeof items[0] === "object" ? [...items.slice(0, 2), "…"] : items;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, shorter(of as Json)]));
}

/** JSON with a line for each thing that fits on one. */
function written(value: Json, indent = "", before = 0): string {
  const line = json(value);
  if (indent.length + before + line.length <= 120 || typeof value !== "object" || value === null) return line;
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? (value as Json[]).map((item) => `${inner}${written(item, inner)}`)
    : Object.entries(value).map(
        ([key, of]) => `${inner}${JSON.stringify(key)}: ${written(of as Json, inner, key.length + 4)}`,
      );
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
}

/** Every shape that an answer names, in the order of their names. */
export function renderShapes(words: Words, shapes: Shapes): string[] {
  const names = new Set<string>();
  const visit = (shape: Shape, isAnswer: boolean): void => {
    const name = nameOf(shape);
    if (name !== undefined && shapes.tableOf(name) !== undefined) return;
    if (name !== undefined && shapes.formsOf(shape).length > 0) {
      if (!isAnswer && names.has(name)) return;
      if (!isAnswer) names.add(name);
    }
    const { anyOf, items } = shapes.resolve(shape);
    if (items) return visit(items, isAnswer);
    if (anyOf) for (const one of anyOf) visit(one, isAnswer);
    for (const form of shapes.formsOf(shape))
      for (const inner of Object.values(form.properties!)) visit(inner, false);
  };
  for (const answer of Object.values(shapes.answers)) visit(answer, true);
  return [...names].toSorted().map((name) => {
    const shape = { $ref: `#/definitions/${name}` };
    const { description } = shapes.resolve(shape);
    return [
      `### ${name}`,
      words.inMarkdown(inSqlWords(description ?? "")),
      `| Field | Type | Meaning |\n|---|---|---|\n${renderFields(shape, words, shapes, undefined, "").join("\n")}`,
    ].join("\n\n");
  });
}

const uncapitalised = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
const listed = (roles: readonly string[]) => roles.map((role) => `\`${role}\``).join(", ") || "nobody";
