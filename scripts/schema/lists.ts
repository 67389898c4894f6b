/** What SQL, the edge functions and the reference must all know, each list from its one function. */
import { withConnection } from "../../packages/tokenbook/src/database/connection.ts";
import { formatted } from "./formatted.ts";

/** Where the edge functions have the lists, relative to the project. */
export const listsFile = "supabase/functions/_shared/lists.ts";

/** What each list is, for people, and the function that is it. */
const lists = {
  limits: { what: "Limits, and what holds when nothing is said", from: "tokenbook.limits()" },
  grantTypes: {
    what: "Types of grants that every project has (its own are in `token_grant_types`): how many hours one lives when nothing else is said (`null`: for ever), whether it must run out at some time, and the `action_type` of its transaction",
    from: "tokenbook.built_in_grant_types()",
  },
  alertKinds: {
    what: "Kinds of alerts: what a rule of that kind asks for (`null`: no rule is of it), what an alert is about, and whether its end can be one too",
    from: "tokenbook.alert_kinds()",
  },
  eventKinds: {
    what: "Kinds of events, which [webhooks](guides/webhooks.md) tell of, and what their `data` says beside `user_id`",
    from: "tokenbook.event_kinds()",
  },
};

type Lists = Record<keyof typeof lists, Record<string, unknown>>;

function readLists(databaseUrl: string): Promise<Lists> {
  const columns = Object.entries(lists).map(([name, { from }]) => `${from} as "${name}"`);
  return withConnection(databaseUrl, async (client) => {
    const { rows } = await client.query<Lists>(`select ${columns.join(", ")}`);
    return rows[0]!;
  });
}

/** The lists of a database as TypeScript, in the project's format. */
export async function generateLists(databaseUrl: string): Promise<string> {
  const constants = Object.entries(await readLists(databaseUrl)).map(
    ([name, list]) =>
      `/** ${withoutLinks(lists[name as keyof Lists].what)}. */\nexport const ${name} = ${JSON.stringify(list)} as const;`,
  );
  const head = "// Generated from the database by `npm run types`. Do not edit.";
  return formatted(listsFile, [head, ...constants].join("\n\n"));
}

const withoutLinks = (markdown: string) => markdown.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, "$1");

/** The lists of a database in Markdown, an item a line. */
export async function describeLists(databaseUrl: string): Promise<string> {
  return Object.entries(await readLists(databaseUrl))
    .map(([name, list]) => {
      const items = Object.entries(list).map(([key, value]) => `- \`${key}\`: ${inWords(value)}`);
      return [`${lists[name as keyof Lists].what}:`, items.join("\n")].join("\n\n");
    })
    .join("\n\n");
}

function inWords(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([key, said]) => `${key} ${said}`)
    .join(", ");
}
