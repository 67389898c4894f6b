/**
 * A guest in somebody's house: no statement that Tokenbook brings may touch what Tokenbook did not make.
 * Read from the text, because what a statement would do in a database without other objects shows nothing.
 */

/** A statement that reaches beyond what is ours. */
export interface Trespass {
  file: string;
  /** What it does that it must not. */
  what: string;
}

/** What a file may touch beside what the rule makes ours. */
export interface Allowed {
  /** Relations in `public` that are this repository's own. */
  relations?: readonly string[];
}

/** How many statements a text has, inner ones not counted, and which of them reach too far. */
export function trespassesIn(
  file: string,
  sql: string,
  { relations = [] }: Allowed = {},
): { statements: number; found: Trespass[] } {
  const isOwn = (name: string, literals: readonly string[]) => isOurs(name, literals, relations);
  const statements = statementsOf(sql);
  const found: Trespass[] = [];
  for (const { text: written, literals } of statements) {
    // its own text only says how; for what, those who call it say
    const isExpose = /^\s*create function tokenbook\.(?:expose|withdraw_rights)\b/.test(written);
    const text = (
      isExpose ? written.replaceAll(/public\.%I, %s|public\.%I|(?<= on )%s %s/g, "tokenbook.it") : written
    ).replace(/\s+/g, " ");
    const say = (what: string) => found.push({ file, what: what.trim() });
    for (const { pattern, names } of rules) {
      for (const match of text.matchAll(pattern)) {
        const targets = names(match.groups ?? {});
        if (targets === "never" || targets.some((name) => !isOwn(name, literals))) say(match[0]);
      }
    }
  }
  return { statements: statements.length, found };
}

const name = String.raw`(?:[%\w"]+\.)?[%\w"]+`;
const list = (names = "") =>
  names
    .replace(/\([^)]*\)/g, "")
    .split(",")
    .map((one) => one.trim());

interface Rule {
  pattern: RegExp;
  /** What the statement touches; `never`, where nothing of the kind is a guest's to do. */
  names: (found: Record<string, string | undefined>) => string[] | "never";
}

const kinds =
  "materialized view|foreign table|table|view|index|sequence|function|procedure|routine|aggregate|type|domain|schema|statistics";

const rules: Rule[] = [
  {
    pattern:
      /\bon all (?:tables|sequences|functions|procedures|routines) in schema (?<names>.+?) (?:from|to)\b/gis,
    names: ({ names }) => list(names),
  },
  {
    pattern: /\b(?:grant|revoke)\b[^;]*?\bon schema (?<names>[^;]+?) (?:from|to)\b/gi,
    names: ({ names }) => list(names),
  },
  {
    pattern:
      /\b(?:grant|revoke)\b[^;]*?\bon (?!all |schema )(?:table |function |procedure |routine |sequence |type |domain )?(?<names>[^;]+?) (?:from|to)\b/gi,
    names: ({ names }) => list(names),
  },
  // membership of roles
  { pattern: /\b(?:grant|revoke) (?:(?!\bon\b)[\w, "])+ (?:to|from) \w+/gi, names: (): "never" => "never" },
  // in public it would take the place of what is there
  {
    pattern: new RegExp(String.raw`\bcreate or replace (?!(?:\w+ )+(?:tokenbook|pg_temp)\.)[^;(]*`, "gi"),
    names: (): "never" => "never",
  },
  // what it makes, it makes of what it is given
  {
    pattern: /\btokenbook\.expose\(f\b/gi,
    names: () => ["public.%I"],
  },
  // whose oid it looks up is of schema tokenbook, or what expose has just made
  {
    pattern: /\btokenbook\.withdraw_rights\((?:'?\w+'?|case [^,]*), (?:format\()?'?(?<name>[\w%."]+)/gi,
    names: ({ name: one }) => (/^\w+\.oid$/.test(one!) ? [] : [one!]),
  },
  {
    pattern:
      /\b(?:alter|drop) (?:default privileges|role|user|database|system|extension|event trigger|language|operator|cast|server|tablespace|owned)\b[^;]*/gi,
    names: (): "never" => "never",
  },
  {
    pattern: new RegExp(
      String.raw`\b(?:alter|drop) (?:${kinds}) (?:if exists )?(?:only )?(?<name>${name})`,
      "gi",
    ),
    names: ({ name: one }) => [one!],
  },
  {
    pattern: new RegExp(
      String.raw`\b(?:alter|drop) (?:policy|trigger|rule) (?:if exists )?(?:"[^"]+"|[\w%]+) on (?:only )?(?<name>${name})`,
      "gi",
    ),
    names: ({ name: one }) => [one!],
  },
  // the one publication, and our own tables in it
  {
    pattern: /\b(?:create|alter|drop) publication (?!supabase_realtime add table )[^;]*/gi,
    names: (): "never" => "never",
  },
  {
    pattern: /\balter publication supabase_realtime add table (?<names>[^;]+)/gi,
    names: ({ names }) => list(names),
  },
  {
    pattern: new RegExp(
      String.raw`\bcreate (?:unlogged |unique |temp |temporary )*(?:${kinds.replace("index|", "")}) (?:if not exists )?(?<name>${name})`,
      "gi",
    ),
    names: ({ name: one }) => [one!],
  },
  {
    pattern: new RegExp(
      String.raw`\bcreate (?:unique )?(?:index|policy|rule)\b(?:"[^"]*"|[^;"])*?\bon (?:only )?(?<name>${name})`,
      "gi",
    ),
    names: ({ name: one }) => [one!],
  },
  // the triggers that are not on a table of ours: a user a user a user who signs up is registered; and, where the project's owner asks for it
  // by name, which nothing of ours does, rows of a table of theirs are paid for
  { pattern: /\b(?:select|perform) tokenbook\.charge_tokens_on_insert\(/gi, names: (): "never" => "never" },
  {
    pattern: new RegExp(
      String.raw`\bcreate (?:constraint )?trigger\b[^;]*?\bon (?<name>${name})(?<rest>[^;]*)`,
      "gi",
    ),
    names: ({ name: one, rest }) =>
      (one === "auth.users" && /execute function tokenbook\./i.test(rest!)) ||
      (one === "%s" && /execute function tokenbook\.charge_for_row\(/i.test(rest!))
        ? []
        : [one!],
  },
  {
    pattern: new RegExp(String.raw`\bcomment on (?:${kinds}|column) (?<name>(?:[%\w"]+\.)*[%\w"]+)`, "gi"),
    names: ({ name: one }) => [one!.split(".").slice(0, 2).join(".")],
  },
  {
    pattern: new RegExp(
      String.raw`\b(?:insert into|delete from|truncate(?: table)?|merge into|lock table|update) (?:only )?(?<name>[%\w"]+\.[%\w"]+)`,
      "gi",
    ),
    names: ({ name: one }) => [one!],
  },
  // asked for, never changed; and only the one that runs the jobs
  { pattern: /\bcreate extension (?!(?:if not exists )?pg_cron\b)[^;]*/gi, names: (): "never" => "never" },
];

/** Whether the rule makes a name ours; a name that is put together is, when all that it is put together from is. */
function isOurs(qualified: string, literals: readonly string[], relations: readonly string[]): boolean {
  const parts = qualified.replaceAll('"', "").toLowerCase().split(".");
  const [schema, object] = parts.length === 1 ? [undefined, parts[0]!] : [parts[0]!, parts[1]!];
  if (schema === "tokenbook" || schema === "pg_temp") return true;
  if (object.includes("%"))
    return literals.length > 0 && literals.every((one) => isOurs(`public.${one}`, [], relations));
  if (schema === undefined)
    return object === "tokenbook" || object.startsWith("token_") || temporary.has(object);
  return (
    schema === "public" &&
    (object.includes("token") || object === "get_user_storage_quota" || relations.includes(object))
  );
}

/** Temporary tables: they are made without a schema. */
const temporary = new Set(["grants_to_copy", "tokenbook_import_users", "tokenbook_import_grants"]);

/** Roles and schemas: whom and where, not what. */
const noObjects = new Set(["anon", "authenticated", "service_role", "public", "tokenbook"]);

interface Statement {
  /** Without comments and words; the code in it, and what it puts together and executes, as if it stood there. */
  text: string;
  /** What in it could be a name. */
  literals: string[];
}

/** The statements of a text, each with everything that it contains. */
function statementsOf(sql: string): Statement[] {
  const statements: Statement[] = [];
  let text = "";
  let literals: string[] = [];
  const end = () => {
    if (/\S/.test(text)) statements.push({ text, literals });
    [text, literals] = ["", []];
  };
  const tokens =
    /--[^\n]*|\/\*[^]*?\*\/|(?<code>\$(?<tag>\w*)\$(?<body>[^]*?)\$\k<tag>\$)|(?<literal>[eE]?'(?<words>(?:[^']|'')*)')|"[^"]*"|[^;]|;/g;
  for (const { 0: token, groups } of sql.matchAll(tokens)) {
    if (token === ";") end();
    else if (token.startsWith("--") || token.startsWith("/*")) text += " ";
    else if (groups!["code"] !== undefined) {
      for (const inner of statementsOf(groups!["body"]!)) {
        text += ` ; ${inner.text} ; `;
        literals.push(...inner.literals);
      }
    } else if (groups!["literal"] !== undefined) {
      const words = groups!["words"]!.replaceAll("''", "'");
      if (/\btokenbook\.withdraw_rights\s*\([^)]*$/i.test(text)) text += words;
      else if (/\bexecute\s+(?:format\s*\(\s*)?$/i.test(text)) text += ` ; ${words} ; `;
      else {
        text += "''";
        if (/^\w*[a-z0-9]$/.test(words) && !noObjects.has(words)) literals.push(words);
      }
    } else text += token;
  }
  end();
  return statements;
}
